//! `paceline connection authorize`

use super::{CliError, Context};
use crate::authorise::{self, Callback};
use crate::preference::{connections, tenants};
use crate::provider::Flow;
use secrecy::SecretString;
use serde::Serialize;
use std::fmt;
use std::io::BufRead;

/// The longest address that is read.
const ANSWER_BYTES_MAX: usize = 16 << 10;

#[derive(Serialize)]
struct Allowed {
    id: i64,
    label: String,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection {} is authorised.", self.label)
    }
}

/// Does it.
pub(super) async fn run(context: &Context, tenant: &str, label: String) -> Result<(), CliError> {
    let app = &context.app;
    let tenant = tenants::find(&app.pool, tenant).await?;
    let found = connections::find(&app.pool, tenant, &label).await?;
    let provider = app.registry.find(&found.provider)?;
    let connection = connections::open_any(&app.pool, &app.sealer, tenant, found.id).await?;
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
        // The exchange may need a quota's leave, and then Redis must know what is spent.
        crate::keep::rebuild_if_lost(app, &provider.name).await.map_err(CliError::refused)?;
        let begun = authorise::begin(app, provider, &connection).await?;
        context.output.note(&format!(
            "Open this address, sign in and allow it; then paste here where the browser was sent back to, or the code \
             in it:\n\n{}\n",
            begun.url
        ));
        let text = tokio::task::spawn_blocking(line).await.map_err(CliError::refused)??;
        let (state, callback) = understood(&text, begun.state)?;
        authorise::finish(app, &state, &callback).await?;
    }
    context.tell_schedule().await;
    context.output.answer(&Allowed { id: found.id.0, label })
}

fn line() -> Result<String, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text);
    read.map_err(|error| CliError::cannot_start(format!("cannot read standard input: {error}")))?;
    match text.trim() {
        "" => Err(CliError::refused("nothing was pasted: nothing was changed")),
        text if text.len() > ANSWER_BYTES_MAX => {
            Err(CliError::refused("that is no address: nothing was changed"))
        }
        text => Ok(text.to_owned()),
    }
}

/// An address with the state that was asked with, or the code alone, taken for the answer to what was asked here.
fn understood(text: &str, asked: SecretString) -> Result<(SecretString, Callback), CliError> {
    let Some((_, query)) = text.split_once('?').filter(|(before, _)| before.contains("://")) else {
        return Ok((asked, Callback::Code(text.into())));
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
        (None, None) => return Err(CliError::refused("the address holds no code: nothing was changed")),
    };
    match state {
        Some(state) if authorise::is_same(&state, &asked) => Ok((asked, callback)),
        Some(_) => Err(CliError::refused(
            "the address answers another request than the one begun here: open the address above and paste where that \
             one ends; nothing was changed",
        )),
        None => {
            Err(CliError::refused("the address holds no state: was it the one that the browser was sent to?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    fn read(text: &str) -> Result<(String, String), String> {
        let (state, callback) = understood(text, "s 1".into()).map_err(|error| error.sentence())?;
        let callback = match callback {
            Callback::Code(code) => format!("code {}", code.expose_secret()),
            Callback::Error(error) => format!("error {error}"),
        };
        Ok((state.expose_secret().to_owned(), callback))
    }

    #[test]
    fn an_address_or_a_code_may_be_pasted() {
        let both = |state: &str, came: &str| Ok((state.to_owned(), came.to_owned()));
        assert_eq!(read("abc/=1"), both("s 1", "code abc/=1"));
        assert_eq!(read("https://x/cb?code=a%2Fb&state=s+1#frag"), both("s 1", "code a/b"));
        assert_eq!(read("https://x/cb?error=access_denied&state=s+1"), both("s 1", "error access_denied"));
        let others = read("https://x/cb?code=a&state=other").unwrap_err();
        assert!(others.contains("another request"), "{others}");
        assert!(read("https://x/cb?code=a").unwrap_err().contains("no state"));
        assert!(read("https://x/cb?state=a").unwrap_err().contains("no code"));
    }
}
