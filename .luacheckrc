-- luacheck: the scripts that Redis runs. Modules that a script's header names under `Uses:` are globals to each file
-- alone; that the names are true, tests/tidy checks.
std = "lua51"
max_line_length = 120
read_globals = {
  "redis", "cmsgpack", "cjson", "struct", "bit", "KEYS", "ARGV",
  "Const", "Keys", "Command", "Clock", "Record", "Due", "Lanes", "Lease",
  "Run", "Probe", "Gcra", "VariableLimit", "Gauge", "State", "Places", "Chain", "Rank", "Room", "Heap", "Waitlist", "Contenders", "Gather", "Grant",
  "Serve", "Ahead", "Write", "Admission", "ActiveHolds", "Ended", "Jobs", "Quotas",
}
-- What this take has found and decided so far: the one module whose fields others set.
globals = { "Found" }
