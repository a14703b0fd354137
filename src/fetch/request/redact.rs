//! Removes secrets from what clouds send.

use super::template::RESERVED;
use crate::fetch::CallResult;
use crate::words::{Outcome, Validator};
use percent_encoding::utf8_percent_encode;

/// Shorter secrets, and shorter prefixes of a secret, are not redacted: they could be any text.
const SECRET_CHARS_MIN: usize = 4;

/// Redacts all texts of a result: a cloud may repeat a secret, and the texts are logged and stored.
pub(crate) fn redact(forms: &[String], result: &mut CallResult) {
    for (_, outcome) in &mut result.outcomes {
        match outcome {
            Outcome::Fresh(_) | Outcome::Unchanged | Outcome::Throttled | Outcome::DeviceOffline => (),
            Outcome::Unauthorized { reason }
            | Outcome::NoData { reason }
            | Outcome::Gone { reason }
            | Outcome::Transient { reason }
            | Outcome::NotSent { reason } => redact_text(reason, forms),
            Outcome::Broken { reason, excerpt } => {
                redact_text(reason, forms);
                redact_text(excerpt, forms);
            }
        }
    }
    for rejected in &mut result.rejected {
        redact_text(&mut rejected.reason, forms);
    }
    for (hold, _) in &mut result.holds {
        redact_text(&mut hold.reason, forms);
    }
    // These are stored and sent again as they are: dropped, since a redacted value would be wrong.
    result.bootstrap_values.retain(|_, value| !contains_secret(value, forms));
    let leaks = |validator: &Validator| {
        serde_json::to_string(validator).is_ok_and(|text| contains_secret(&text, forms))
    };
    result.validators.all.take_if(|validator| leaks(validator));
    result.validators.by_job.retain(|_, validator| !leaks(validator));
}

/// Whether a text contains a secret.
pub(crate) fn contains_secret(text: &str, forms: &[String]) -> bool {
    forms.iter().any(|form| text.contains(form.as_str()))
}

pub(crate) fn redact_text(text: &mut String, forms: &[String]) {
    for form in forms {
        *text = text.replace(form, "***");
    }
    // Texts are cut to a maximum length, so a form may be cut at the end of the text.
    let cut_form = |form: &String| {
        let cuts = (1..form.len()).rev().filter_map(|n| form.get(..n));
        let long = cuts.take_while(|begin| begin.chars().count() >= SECRET_CHARS_MIN);
        long.map(str::to_owned).find(|begin| text.ends_with(begin.as_str()))
    };
    if let Some(begin) = forms.iter().filter_map(cut_form).max_by_key(String::len) {
        text.truncate(text.len() - begin.len());
        text.push_str("***");
    }
}

/// The forms in which a response may repeat a secret: verbatim, in JSON, in a URL; the longest first. None if the
/// secret is too short to be distinguished from other text.
pub(crate) fn secret_forms(secret: &str) -> Vec<String> {
    if secret.chars().count() < SECRET_CHARS_MIN {
        return Vec::new();
    }
    let json = serde_json::Value::from(secret).to_string();
    let json = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(secret);
    let path = utf8_percent_encode(secret, RESERVED).to_string();
    let form = path.replace("%20", "+").replace('~', "%7E").replace("%2A", "*");
    let mut forms = vec![secret.to_owned(), json.to_owned(), lower_hex(&path), lower_hex(&form), path, form];
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
    forms
}

/// `%2F` becomes `%2f`: clouds use both.
fn lower_hex(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (hex, rest) in parts.filter_map(|part| part.split_at_checked(2)) {
        text.extend(["%", &hex.to_ascii_lowercase(), rest]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_forms_cover_json_and_url_encodings() {
        assert_eq!(secret_forms("plain-1"), ["plain-1"]);
        assert_eq!(secret_forms("abc"), [""; 0]);
        let forms = secret_forms("a/\"b c~");
        for form in
            ["a/\"b c~", "a/\\\"b c~", "a%2F%22b%20c~", "a%2f%22b%20c~", "a%2F%22b+c%7E", "a%2f%22b+c%7e"]
        {
            assert!(forms.iter().any(|known| known == form), "{form}: {forms:?}");
        }
    }
}
