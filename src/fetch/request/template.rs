//! Templates, and how they escape values.

use super::error::RequestError;
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::ops::Range;

/// Everything but the unreserved characters of RFC 3986.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Compiled templates by kind and name.
pub(crate) struct Templates {
    paths: Environment<'static>,
    plain: Environment<'static>,
    json: Environment<'static>,
}

/// How a template escapes values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Percent-encoded.
    Path,
    /// Not escaped: the rendered text is encoded as a whole.
    Plain,
    /// Written as JSON.
    Json,
}

impl Templates {
    pub(crate) fn new() -> Self {
        let [mut paths, mut plain, mut json] = [(); 3].map(|()| Environment::new());
        for env in [&mut paths, &mut plain, &mut json] {
            env.set_undefined_behavior(UndefinedBehavior::Strict);
            env.set_fuel(Some(50_000));
        }
        paths.set_formatter(|out, _, value| match value.is_safe() {
            true => out.write_str(&value.to_string()).map_err(Error::from),
            false => out.write_str(&segment(&value.to_string())?).map_err(Error::from),
        });
        json.set_formatter(|out, _, value| {
            let text = serde_json::to_string(value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
            out.write_str(&text).map_err(Error::from)
        });
        paths.add_filter("segments", segments);
        paths.add_filter("each_encoded", each_encoded);
        Self { paths, plain, json }
    }

    /// Compiles a template. An error is added to `errors` with its position in the file.
    pub(crate) fn add(
        &mut self,
        (kind, name): (Kind, String),
        text: &str,
        span: Range<usize>,
        errors: &mut Vec<(Range<usize>, String)>,
    ) {
        let env = match kind {
            Kind::Path => &mut self.paths,
            Kind::Plain => &mut self.plain,
            Kind::Json => &mut self.json,
        };
        if let Err(error) = env.add_template_owned(name, text.to_owned()) {
            errors.push((span, format!("bad template: {error}")));
        }
    }

    /// The variables that a template uses, with their first attribute, such as `device.external_id`; sorted.
    pub(crate) fn variables(&self, kind: Kind, name: &str) -> Vec<String> {
        let env = self.env(kind);
        let Ok(template) = env.get_template(name) else { return Vec::new() };
        let is_global = |name: &String| name == "loop" || env.globals().any(|(known, _)| known == name);
        let found = template.undeclared_variables(true).into_iter().filter(|name| !is_global(name));
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    }

    fn env(&self, kind: Kind) -> &Environment<'static> {
        match kind {
            Kind::Path => &self.paths,
            Kind::Plain => &self.plain,
            Kind::Json => &self.json,
        }
    }

    pub(crate) fn render(&self, kind: Kind, name: &str, values: &Value) -> Result<String, RequestError> {
        self.env(kind)
            .get_template(name)
            .and_then(|template| template.render(values))
            .map_err(|error| RequestError::Template { what: name.to_owned(), error })
    }
}

/// Encodes one path segment. `.` and `..` are refused: they would change the path, however they are encoded.
fn segment(text: &str) -> Result<String, Error> {
    if matches!(text, "." | "..") {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{text:?} is not allowed as a path segment"),
        ));
    }
    Ok(utf8_percent_encode(text, RESERVED).to_string())
}

/// Encodes each item and joins them by a separator that stays as it is: `a,b` is two ids to a server, `a%2Cb` one.
fn each_encoded(items: &Value, separator: &str) -> Result<Value, Error> {
    if !separator.bytes().all(|byte| b",;:+|".contains(&byte)) {
        let reason = format!("{separator:?} is not allowed between ids: use one of , ; : + |");
        return Err(Error::new(ErrorKind::InvalidOperation, reason));
    }
    let parts: Result<Vec<_>, _> = items.try_iter()?.map(|item| segment(&item.to_string())).collect();
    Ok(Value::from_safe_string(parts?.join(separator)))
}

/// Encodes several segments and keeps the slashes.
fn segments(text: String) -> Result<Value, Error> {
    let parts: Result<Vec<_>, _> = text.split('/').map(segment).collect();
    Ok(Value::from_safe_string(parts?.join("/")))
}
