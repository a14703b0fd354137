//! Secrets are taken out of what clouds say.

use super::Answer;
use super::request::forms_of;
use crate::words::Outcome;

/// A secret, or its beginning, is hidden where at least so much of it is told.
const SECRET_CHARS_MIN: usize = 4;

/// Takes the secret out of all that is told: a cloud may say it back, and logs and tables keep what they are told.
pub(super) fn hide(secret: &str, answer: &mut Answer) {
    // A shorter one is not to be told from other text.
    if secret.chars().count() < SECRET_CHARS_MIN {
        return;
    }
    let forms = forms_of(secret);
    for (_, outcome) in &mut answer.outcomes {
        match outcome {
            Outcome::Fresh(_) | Outcome::Unchanged | Outcome::Throttled | Outcome::DeviceOffline => (),
            Outcome::Unauthorized { reason }
            | Outcome::Gone { reason }
            | Outcome::Transient { reason }
            | Outcome::NotSent { reason } => hide_in(reason, &forms),
            Outcome::Broken { reason, excerpt } => {
                hide_in(reason, &forms);
                hide_in(excerpt, &forms);
            }
        }
    }
    for (hold, _) in &mut answer.holds {
        hide_in(&mut hold.reason, &forms);
    }
}

pub(super) fn hide_in(text: &mut String, forms: &[String]) {
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
