//! `paceline connection authorize`

use crate::authorise::{self, Callback};
use crate::cli::{CliError, Context};
use crate::preference::{connections, tenants};
use crate::provider::Flow;
use secrecy::SecretString;
use serde::Serialize;
use std::fmt;
use std::io::BufRead;

/// The longest text that may be pasted.
const PASTED_BYTES_MAX: usize = 16 << 10;

#[derive(Serialize)]
struct Authorized {
    id: i64,
    label: String,
}

impl fmt::Display for Authorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection {} is authorised.", self.label)
    }
}

/// Leads the connection's owner through the authorization, by device code or by browser.
pub(super) async fn run(context: &Context, tenant: &str, label: String) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = tenants::find(&app.pool, tenant).await?;
    let connection_ref = connections::find(&app.pool, tenant, &label).await?;
    let provider = app.registry.find(&connection_ref.provider)?;
    let connection = connections::open_any(&app.pool, &app.sealer, tenant, connection_ref.id).await?;
    // Quotas may count requests for tokens: a reservation needs the quota state in Redis.
    crate::keep::rebuild_if_lost(app, &provider.name).await.map_err(CliError::refused)?;
    let oauth2 = provider.definition.auth.get_ref().oauth2.as_ref();
    if oauth2.is_some_and(|oauth2| oauth2.get_ref().flow == Flow::Device) {
        let code = authorise::device_code(app, provider, &connection).await?;
        let url = code.url_with_code.as_ref().unwrap_or(&code.url);
        let minutes = code.lifetime.as_secs().div_ceil(60);
        context.output.note(&format!(
            "On any device, open {url} and enter {}. Waiting for up to {minutes} minutes …",
            code.code
        ));
        authorise::finish_device(app, provider, &connection, &code).await?;
    } else {
        let request = authorise::begin(app, provider, &connection).await?;
        context.output.note(&format!(
            "Open this address, sign in and allow access. Then paste the address that the browser was redirected to, \
             or the code in it:\n\n{}\n",
            request.url
        ));
        let text = tokio::task::spawn_blocking(read_pasted).await.map_err(CliError::refused)??;
        let (state, callback) = parse_pasted(&text, request.state)?;
        authorise::finish(app, &state, &callback).await?;
    }
    context.update_schedule().await;
    context.output.answer(&Authorized { id: connection_ref.id.0, label })
}

fn read_pasted() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text);
    read.map_err(|error| CliError::cannot_start(format!("cannot read standard input: {error}")))?;
    match text.trim() {
        "" => Err(CliError::refused("nothing was pasted; nothing was changed")),
        text if text.len() > PASTED_BYTES_MAX => Err(CliError::refused(format!(
            "the pasted text is longer than {PASTED_BYTES_MAX} bytes, so it is no address; nothing was changed"
        ))),
        text => Ok(text.to_owned()),
    }
}

/// Reads the state and the result from a pasted address. A code alone is taken to belong to this request.
fn parse_pasted(text: &str, expected_state: SecretString) -> Result<(SecretString, Callback), CliError> {
    let Some((_, query)) = text.split_once('?').filter(|(before, _)| before.contains("://")) else {
        return Ok((expected_state, Callback::Code(text.into())));
    };
    let query = query.split('#').next().unwrap_or(query);
    let (mut state, mut code, mut error) = (None, None, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "state" => state = Some(SecretString::from(value.into_owned())),
            "code" => code = Some(SecretString::from(value.into_owned())),
            "error" => error = Some(value.into_owned()),
            _ => {}
        }
    }
    let callback = match (error, code) {
        (Some(error), _) => Callback::Error(error),
        (None, Some(code)) => Callback::Code(code),
        (None, None) => {
            return Err(CliError::refused("the address has no `code` parameter; nothing was changed"));
        }
    };
    match state {
        Some(state) if authorise::is_same(&state, &expected_state) => Ok((expected_state, callback)),
        Some(_) => Err(CliError::refused(
            "the address belongs to another authorization request: open the address shown above and paste the one that \
             it redirects to; nothing was changed",
        )),
        None => Err(CliError::refused(
            "missing `state` parameter: paste the whole address that the browser was redirected to",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn read(text: &str) -> Result<(String, String), String> {
        let (state, callback) = parse_pasted(text, "s 1".into()).map_err(|error| error.message())?;
        let callback = match callback {
            Callback::Code(code) => format!("code {}", code.expose_secret()),
            Callback::Error(error) => format!("error {error}"),
        };
        Ok((state.expose_secret().to_owned(), callback))
    }

    #[test]
    fn address_or_code_may_be_pasted_but_not_of_another_request() {
        let both = |state: &str, callback: &str| Ok((state.to_owned(), callback.to_owned()));
        assert_eq!(read("abc/=1"), both("s 1", "code abc/=1"));
        assert_eq!(read("https://x/cb?code=a%2Fb&state=s+1#frag"), both("s 1", "code a/b"));
        assert_eq!(read("https://x/cb?error=access_denied&state=s+1"), both("s 1", "error access_denied"));
        let others = read("https://x/cb?code=a&state=other").unwrap_err();
        assert!(others.contains("another authorization request"), "{others}");
        assert!(read("https://x/cb?code=a").unwrap_err().contains("missing `state`"));
        assert!(read("https://x/cb?state=a").unwrap_err().contains("no `code`"));
    }
}
