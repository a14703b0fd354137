//! Secrets are taken out of what clouds say.

use super::template::RESERVED;
use crate::fetch::Answer;
use crate::words::{Outcome, Validator};
use percent_encoding::utf8_percent_encode;

/// A secret, or its beginning, is hidden where at least so much of it is told.
const SECRET_CHARS_MIN: usize = 4;

/// Takes secrets out of all that is told: a cloud may say them back, and logs and tables keep what they are told.
pub(crate) fn hide(forms: &[String], answer: &mut Answer) {
    for (_, outcome) in &mut answer.outcomes {
        match outcome {
            Outcome::Fresh(_) | Outcome::Unchanged | Outcome::Throttled | Outcome::DeviceOffline => (),
            Outcome::Unauthorized { reason }
            | Outcome::Gone { reason }
            | Outcome::Transient { reason }
            | Outcome::NotSent { reason } => hide_in(reason, forms),
            Outcome::Broken { reason, excerpt } => {
                hide_in(reason, forms);
                hide_in(excerpt, forms);
            }
        }
    }
    for (hold, _) in &mut answer.holds {
        hide_in(&mut hold.reason, forms);
    }
    // What would be stored as it is, and used again, is left out as a whole.
    answer.learned.retain(|_, value| !tells(value, forms));
    let is_bad =
        |validator: &Validator| serde_json::to_string(validator).is_ok_and(|text| tells(&text, forms));
    answer.validators.all.take_if(|validator| is_bad(validator));
    answer.validators.of.retain(|_, validator| !is_bad(validator));
}

/// Whether a secret stands in a text.
pub(crate) fn tells(text: &str, forms: &[String]) -> bool {
    forms.iter().any(|form| text.contains(form.as_str()))
}

pub(crate) fn hide_in(text: &mut String, forms: &[String]) {
    for form in forms {
        *text = text.replace(form, "***");
    }
    // Texts are cut, so a form's beginning may stand at the end.
    let begins = |form: &String| {
        let cuts = (1..form.len()).rev().filter_map(|n| form.get(..n));
        let long = cuts.take_while(|begin| begin.chars().count() >= SECRET_CHARS_MIN);
        long.map(str::to_owned).find(|begin| text.ends_with(begin.as_str()))
    };
    if let Some(begin) = forms.iter().filter_map(begins).max_by_key(String::len) {
        text.truncate(text.len() - begin.len());
        text.push_str("***");
    }
}

/// The forms in which an answer may say a secret back: as it is, in JSON, in a URL; the longest first. None of
/// one that is too short to be told from other text.
pub(crate) fn forms_of(secret: &str) -> Vec<String> {
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

/// `%2F` as `%2f`: both are common.
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
    fn a_secret_has_few_forms() {
        assert_eq!(forms_of("plain-1"), ["plain-1"]);
        assert_eq!(forms_of("abc"), [""; 0]);
        let forms = forms_of("a/\"b c~");
        for form in
            ["a/\"b c~", "a/\\\"b c~", "a%2F%22b%20c~", "a%2f%22b%20c~", "a%2F%22b+c%7E", "a%2f%22b+c%7e"]
        {
            assert!(forms.iter().any(|known| known == form), "{form}: {forms:?}");
        }
    }
}
