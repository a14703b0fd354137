// Node-RED's settings: logins that end soon, the password from the environment.
const { hashSync } = require(`${process.env.NODERED_MODULES}/bcryptjs`)

module.exports = {
  uiHost: '127.0.0.1',
  uiPort: Number(process.env.PORT),
  flowFile: 'flows.json',
  adminAuth: {
    type: 'credentials',
    sessionExpiryTime: Number(process.env.NODERED_SESSION_S),
    users: [{ username: 'reader', password: hashSync(process.env.NODERED_PASSWORD, 8), permissions: 'read' }],
  },
  contextStorage: { default: { module: 'memory' } },
}
