//! How the further pages of a response are found.

use super::kinds::Unit;
use crate::words::Interval;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// How the further pages of a response are found, and what they may cost. A call is granted with all its pages: it
/// costs `cost × max`, however many there are, and each page is a separate request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pages {
    /// What leads from one page to the next.
    pub by: PageBy,
    /// The most pages per call, from 2. A response with more is broken.
    pub max: u32,
    /// All pages are sent within this time; a later page is not sent. The quotas that count the resource are spaced by
    /// this much more, so that late pages overflow no window.
    #[serde(default = "default_within")]
    pub within: Interval,
    /// The query parameter that selects the page. Optional where a template uses `page`: the number or the cursor, and
    /// `none` for the first page of a cursor.
    #[serde(default)]
    pub param: Option<String>,
    /// `number`: the first page's number; 1 when absent.
    #[serde(default)]
    pub first: Option<u32>,
    /// `number`: the step from one page to the next; 1 when absent. For offsets: `first = 0` and a step of a page's
    /// size.
    #[serde(default)]
    pub step: Option<u32>,
    /// `number`: jq over the response; there is a further page if its first output is true.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub more: Option<Spanned<String>>,
    /// `number`: jq over the response: the number of pages (for offsets: of items).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub total: Option<Spanned<String>>,
    /// `cursor`: jq over the response: the cursor of the next page; null or empty after the last. `link`: its URL; the
    /// header `Link` with `rel="next"` when absent.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub next: Option<Spanned<String>>,
}

/// What leads from one page to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PageBy {
    /// Pages or items are numbered.
    Number,
    /// Each page contains the cursor of the next.
    Cursor,
    /// Each page contains the URL of the next, with the same scheme, host and port.
    Link,
}

fn default_within() -> Interval {
    Interval::from_ms(10_000).unwrap_or(Interval::MIN)
}

impl Pages {
    /// The number that selects this page, for a page index from 0.
    pub fn number(&self, page: u32) -> u64 {
        u64::from(self.first.unwrap_or(1)) + u64::from(page) * u64::from(self.step.unwrap_or(1))
    }

    /// Its contradictions. `templates`: those of the resource's query, form and body.
    pub(crate) fn check(&self, unit: Unit, templates: &[&str]) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut say = |text: &str| wrong.push(format!("pages: {text}"));
        if self.max < 2 {
            say("max is the number of pages per call: with fewer than 2, leave pages out");
        }
        if unit == Unit::Device {
            say("a response for one device has no pages: set unit = \"batch\", \"group\" or \"connection\"");
        }
        let (number, link) = (self.by == PageBy::Number, self.by == PageBy::Link);
        if number && self.more.is_some() == self.total.is_some() {
            say("by = \"number\" needs more or total: what shows that there is a further page");
        }
        if self.by == PageBy::Cursor && self.next.is_none() {
            say("by = \"cursor\" needs next: where the response contains the cursor");
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
                say(&format!("{key} does not apply to this way of paging: leave it out"));
            }
        }
        if self.step == Some(0) {
            say("step 0 would request the same page for ever");
        }
        if !link && self.param.is_none() && !templates.iter().any(|text| text.contains("page")) {
            say(
                "nothing selects the page: set param to a query parameter's name, or use `page` in a template",
            );
        }
        wrong
    }
}
