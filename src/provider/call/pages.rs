//! How the further pages of an answer are found.

use super::kinds::Unit;
use crate::words::Interval;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// How the further pages of an answer are found, and what may be spent on them. A call is granted with all its pages:
/// it costs `cost × max`, however many there are, and each page is a request of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// What leads from one page to the next.
    pub by: PageBy,
    /// The most pages of one call, from 2. An answer of more is not understood.
    pub max: u32,
    /// All of them are sent within so long; a page that would be later is not sent. The quotas that count the resource
    /// are spaced by so much more, so that no window overflows by pages that come late.
    #[serde(default = "default_within")]
    pub within: Interval,
    /// The query parameter that says which page. May be left out where a template uses `page`, which is the number or
    /// the cursor, and `none` before there is one.
    #[serde(default)]
    pub param: Option<String>,
    /// `number`: that of the first page; 1 when absent.
    #[serde(default)]
    pub first: Option<u32>,
    /// `number`: from one page to the next; 1 when absent. An offset counts `first = 0` in steps of a page's size.
    #[serde(default)]
    pub step: Option<u32>,
    /// `number`: jq over the answer; there is a further page when its first output is true.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub more: Option<Spanned<String>>,
    /// `number`: jq over the answer: how many pages (or, of an offset, items) there are.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub total: Option<Spanned<String>>,
    /// `cursor`: jq over the answer: the cursor of the next page; null or empty after the last. `link`: its URL; the
    /// header `Link` with `rel="next"` when absent.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub next: Option<Spanned<String>>,
}

/// What leads from one page to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageBy {
    /// Pages or items are counted.
    Number,
    /// Each page names what asks for the next.
    Cursor,
    /// Each page has the URL of the next, of the same scheme, host and port.
    Link,
}

fn default_within() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

impl Pages {
    /// The number of this page, counted from 0.
    pub fn number(&self, page: u32) -> u64 {
        u64::from(self.first.unwrap_or(1)) + u64::from(page) * u64::from(self.step.unwrap_or(1))
    }

    /// What it contradicts itself in. `templates`: those of the resource's query, form and body.
    pub(crate) fn check(&self, unit: Unit, templates: &[&str]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |text: &str| wrong.push(format!("pages: {text}"));
        if self.max < 2 {
            say("max counts all pages: with fewer than 2, leave pages out");
        }
        if unit == Unit::Device {
            say("an answer for one device has no pages: say unit = \"batch\", \"group\" or \"connection\"");
        }
        let (number, link) = (self.by == PageBy::Number, self.by == PageBy::Link);
        if number && self.more.is_some() == self.total.is_some() {
            say("by = \"number\" needs more or total: how it is known that there is a further page");
        }
        if self.by == PageBy::Cursor && self.next.is_none() {
            say("by = \"cursor\" needs next: where the answer has the cursor");
        }
        for (given, means, key) in [
            (self.first.is_some(), number, "first"),
            (self.step.is_some(), number, "step"),
            (self.more.is_some(), number, "more"),
            (self.total.is_some(), number, "total"),
            (self.next.is_some(), !number, "next"),
            (self.param.is_some(), !link, "param"),
        ] {
            if given && !means {
                say(&format!("{key} means nothing to this way of paging: leave it out"));
            }
        }
        if self.step == Some(0) {
            say("step 0 would ask for the same page for ever");
        }
        if !link && self.param.is_none() && !templates.iter().any(|text| text.contains("page")) {
            say("nothing says which page is asked for: name the query's param, or use `page` in a template");
        }
        wrong
    }
}
