//! From one page of an answer to the next. Pure.

use super::mapping;
use crate::fetch::jq::Program;
use crate::fetch::wire::Reply;
use crate::provider::{PageBy, Pages};
use jaq_json::Val;
use reqwest::Url;
use reqwest::header::LINK;
use serde_json::Value;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// A resource's way through pages, compiled.
pub(crate) struct Pager {
    pages: Pages,
    more: Option<Program>,
    total: Option<Program>,
    next: Option<Program>,
    /// Query parameters that hold credentials.
    credentials: Vec<String>,
}

/// Which page a request is for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Page {
    /// From 0.
    pub(crate) index: u32,
    /// Its number or cursor; none where nothing says it.
    pub(crate) value: Option<Value>,
    /// Its URL, where a link led here.
    pub(crate) url: Option<Url>,
}

impl Pager {
    /// Compiles it; or what is wrong, with its place in the file.
    pub(crate) fn compile(pages: &Pages, credentials: &[&str]) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut wrong = Vec::new();
        let mut program = |text: &Option<Spanned<String>>| {
            let text = text.as_ref()?;
            Program::compile(text.get_ref()).map_err(|error| wrong.push((text.span(), error))).ok()
        };
        let (more, total, next) = (program(&pages.more), program(&pages.total), program(&pages.next));
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let credentials = credentials.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { pages: pages.clone(), more, total, next, credentials })
    }

    /// Every program of it.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.more.iter().chain(&self.total).chain(&self.next)
    }

    /// The first page.
    pub(crate) fn first(&self) -> Page {
        let value = (self.pages.by == PageBy::Number).then(|| self.pages.number(0).into());
        Page { value, ..Page::default() }
    }

    /// How long after the first the last may be sent.
    pub(crate) fn within(&self) -> Duration {
        Duration::from_millis(self.pages.within.as_ms())
    }

    /// The URL of a page, from that of the resource, whose credentials are put on a link in the place of what it says
    /// of them: links leave them out, or tell those of another day.
    pub(crate) fn url(&self, url: &Url, page: &Page) -> Url {
        if let Some(link) = &page.url {
            let mut link = self.bare(link);
            let own: Vec<_> = url.query_pairs().filter(|(name, _)| self.is_credential(name)).collect();
            if !own.is_empty() {
                link.query_pairs_mut().extend_pairs(own);
            }
            return link;
        }
        let (Some(param), Some(value)) = (&self.pages.param, &page.value) else { return url.clone() };
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut placed = url.clone();
        let others = url.query_pairs().filter(|(name, _)| name != param);
        placed.query_pairs_mut().clear().extend_pairs(others).append_pair(param, &text);
        placed
    }

    /// The page after this one; none after the last. An error says why it must not be asked for.
    pub(crate) fn after(&self, page: &Page, answer: &Val, reply: &Reply) -> Result<Option<Page>, String> {
        let index = page.index + 1;
        let next = match self.pages.by {
            PageBy::Number => self.next_number(index, answer)?.map(|value| Page {
                index,
                value: Some(value.into()),
                url: None,
            }),
            PageBy::Cursor => {
                self.told(answer)?.map(|value| Page { index, value: Some(value.into()), url: None })
            }
            PageBy::Link => match self.link(answer, reply)? {
                Some(link) => Some(Page { index, value: None, url: Some(self.own(&link, &reply.url)?) }),
                None => None,
            },
        };
        match next {
            Some(_) if index >= self.pages.max => Err(format!(
                "the answer has more than {} pages: raise pages.max of the definition",
                self.pages.max
            )),
            // The URL that was asked for holds credentials that links leave out.
            Some(next) if next.url.as_ref().is_some_and(|url| self.bare(url) == self.bare(&reply.url)) => {
                Err("the answer names itself as the page after it".to_owned())
            }
            Some(next) if self.pages.by == PageBy::Cursor && next.value == page.value => {
                Err("the answer names itself as the page after it".to_owned())
            }
            next => Ok(next),
        }
    }

    fn next_number(&self, index: u32, answer: &Val) -> Result<Option<u64>, String> {
        let number = self.pages.number(index);
        let is_there = match (&self.more, &self.total) {
            (Some(more), _) => {
                let told = more.first(answer, |found| match found {
                    Val::Bool(more) => Some(*more),
                    _ => None,
                });
                let told = told.map_err(|error| format!("pages.more failed: {error}"))?;
                told.flatten().ok_or("pages.more yields neither true nor false of this answer")?
            }
            (None, Some(total)) => {
                let told = total.first(answer, mapping::text);
                let told = told.map_err(|error| format!("pages.total failed: {error}"))?.flatten();
                let total = told.and_then(|text| text.parse::<f64>().ok());
                let total = total.ok_or("pages.total yields no number of this answer")?;
                (number as f64) < self.pages.number(0) as f64 + total
            }
            (None, None) => false,
        };
        Ok(is_there.then_some(number))
    }

    fn is_credential(&self, name: &str) -> bool {
        self.credentials.iter().any(|known| known == name)
    }

    /// A URL without credentials; as it is, if it has none.
    fn bare(&self, url: &Url) -> Url {
        let mut bare = url.clone();
        if !url.query_pairs().any(|(name, _)| self.is_credential(&name)) {
            return bare;
        }
        let others: Vec<_> = url.query_pairs().filter(|(name, _)| !self.is_credential(name)).collect();
        bare.set_query(None);
        if !others.is_empty() {
            bare.query_pairs_mut().extend_pairs(others);
        }
        bare
    }

    fn told(&self, answer: &Val) -> Result<Option<String>, String> {
        let Some(next) = &self.next else { return Ok(None) };
        let told =
            next.first(answer, mapping::text).map_err(|error| format!("pages.next failed: {error}"))?;
        Ok(told.flatten().filter(|text| !text.is_empty()))
    }

    fn link(&self, answer: &Val, reply: &Reply) -> Result<Option<String>, String> {
        match &self.next {
            Some(_) => self.told(answer),
            None => Ok(reply.headers.get_all(LINK).iter().find_map(|value| next_of(value.to_str().ok()?))),
        }
    }

    /// A link, if it leads to where the answer came from: the credential goes nowhere else.
    fn own(&self, link: &str, from: &Url) -> Result<Url, String> {
        let url = from.join(link).map_err(|error| format!("the link to the next page is no URL: {error}"))?;
        match url.origin() == from.origin() {
            true => Ok(url),
            false => Err(format!(
                "the next page is said to be at {}, and not at {} as this one: it is not followed",
                url.origin().ascii_serialization(),
                from.origin().ascii_serialization()
            )),
        }
    }
}

/// The target with `rel=next` of a `Link` header (RFC 8288): `<https://…>; rel="next", <…>; rel="last"`.
fn next_of(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, params) = after.split_once('>')?;
        let (own, others) = match params.find('<') {
            Some(at) => params.split_at(at),
            None => (params, ""),
        };
        let is_next = own.split([';', ',']).filter_map(|param| param.split_once('=')).any(|(name, value)| {
            let mut relations = value.trim().trim_matches('"').split_whitespace();
            name.trim().eq_ignore_ascii_case("rel") && relations.any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = others;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::wire::Body;
    use reqwest::header::{HeaderMap, HeaderValue};

    fn pager(text: &str) -> Pager {
        Pager::compile(&toml::from_str(text).unwrap(), &["key", "app"]).unwrap()
    }

    fn reply(link: &str) -> Reply {
        let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).unwrap())]);
        let url = Url::parse("https://api.example.com/v1/devices?page=1").unwrap();
        Reply { url, status: 200, headers, body: Body::default(), took: Duration::ZERO }
    }

    /// What is asked for after each of these answers.
    fn walk(pager: &Pager, answers: &[&str]) -> Vec<Result<Option<String>, String>> {
        let mut page = pager.first();
        let mut asked = Vec::new();
        for answer in answers {
            let next = pager.after(&page, &mapping::read(answer.as_bytes()).unwrap(), &reply("x"));
            page = next.clone().ok().flatten().unwrap_or_default();
            let said = |page: Page| match (page.value, page.url) {
                (Some(Value::String(text)), _) => text,
                (Some(other), _) => other.to_string(),
                (None, url) => url.map(String::from).unwrap_or_default(),
            };
            asked.push(next.map(|next| next.map(said)));
        }
        asked
    }

    fn some(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn pages_and_offsets_are_counted() {
        let more = pager("by = \"number\"\nparam = \"page\"\nmax = 9\nmore = \".hasNext\"");
        assert_eq!(more.first().value, Some(1.into()));
        let more = walk(&more, &["{\"hasNext\": true}", "{\"hasNext\": true}", "{\"hasNext\": false}"]);
        assert_eq!(more, [some("2"), some("3"), Ok(None)]);
        let pages = pager("by = \"number\"\nparam = \"page\"\nmax = 9\ntotal = \".pages\"");
        assert_eq!(walk(&pages, &["{\"pages\": 2}", "{\"pages\": 2}"]), [some("2"), Ok(None)]);
        assert_eq!(walk(&pages, &["{\"pages\": 0}"]), [Ok(None)]);
        assert!(walk(&pages, &["{}"])[0].as_ref().unwrap_err().contains("pages.total"));
        let more = pager("by = \"number\"\nparam = \"page\"\nmax = 9\nmore = \".hasNext\"");
        assert!(walk(&more, &["{}"])[0].as_ref().unwrap_err().contains("neither true nor false"));
        assert!(walk(&more, &["[]"])[0].as_ref().unwrap_err().contains("pages.more failed"));
        let text = "by = \"number\"\nparam = \"from\"\nmax = 9\ntotal = \".n\"\nfirst = 0\nstep = 100";
        let n = "{\"n\": 200}";
        assert_eq!(walk(&pager(text), &[n, n]), [some("100"), Ok(None)]);
    }

    #[test]
    fn cursors_lead_on_until_there_is_none() {
        let cursor = pager("by = \"cursor\"\nparam = \"after\"\nmax = 9\nnext = \".next\"");
        assert_eq!(cursor.first(), Page::default());
        assert_eq!(walk(&cursor, &["{\"next\": \"b\"}", "{\"next\": 7}"]), [some("b"), some("7")]);
        for last in ["{\"next\": null}", "{\"next\": \"\"}", "{}"] {
            assert_eq!(walk(&cursor, &[last]), [Ok(None)], "{last}");
        }
        let circle = walk(&cursor, &["{\"next\": \"b\"}", "{\"next\": \"b\"}"]);
        assert!(circle[1].as_ref().unwrap_err().contains("itself"));
    }

    #[test]
    fn more_pages_than_are_paid_for_are_not_asked_for() {
        let two = pager("by = \"number\"\nparam = \"page\"\nmax = 2\nmore = \"true\"");
        let told = walk(&two, &["{}", "{}"]);
        assert_eq!(told[0], some("2"));
        assert!(told[1].as_ref().unwrap_err().contains("more than 2 pages"));
    }

    #[test]
    fn links_are_followed_within_the_origin_only() {
        let jq = pager("by = \"link\"\nmax = 9\nnext = \"._links.next.href\"");
        let link = |to: &str| {
            walk(&jq, &[&format!("{{\"_links\": {{\"next\": {{\"href\": {to:?}}}}}}}")])[0].clone()
        };
        let next = "https://api.example.com/v1/devices?page=2";
        assert_eq!(link(next), some(next));
        assert_eq!(link("?page=2"), some(next));
        for other in [
            "https://evil.example.com/v1/devices?page=2",
            "http://api.example.com/v1/devices?page=2",
            "https://api.example.com:8443/v1/devices?page=2",
            "//evil.example.com/",
            "file:///etc/passwd",
        ] {
            assert!(link(other).unwrap_err().contains("not followed"), "{other}");
        }
        assert!(link("https://api.example.com/v1/devices?page=1").unwrap_err().contains("itself"));
        assert_eq!(walk(&jq, &["{}"]), [Ok(None)]);
    }

    #[test]
    fn a_page_is_asked_for_where_the_definition_says() {
        let url = Url::parse("https://api.example.com/d?key=s%26&page=9&x=1").unwrap();
        let page = Page { index: 1, value: Some("a&b".into()), url: None };
        let cursor = pager("by = \"cursor\"\nparam = \"page\"\nmax = 9\nnext = \".next\"");
        let asked = "https://api.example.com/d?key=s%26&x=1&page=a%26b";
        assert_eq!(cursor.url(&url, &page).as_str(), asked);
        assert_eq!(cursor.url(&url, &Page::default()), url);
    }

    #[test]
    fn links_get_the_credentials_of_this_call_and_no_others() {
        let pager = pager("by = \"link\"\nmax = 9\nnext = \".next\"");
        let url = Url::parse("https://api.example.com/d?app=a1&key=s%26&x=1").unwrap();
        let page = |link: &str| Page { index: 1, value: None, url: Some(Url::parse(link).unwrap()) };
        for (link, query) in [
            ("https://api.example.com/d?after=7", "after=7&app=a1&key=s%26"),
            ("https://api.example.com/d?key=***&after=7", "after=7&app=a1&key=s%26"),
            ("https://api.example.com/d?key=old&app=old", "app=a1&key=s%26"),
            ("https://api.example.com/d", "app=a1&key=s%26"),
        ] {
            assert_eq!(pager.url(&url, &page(link)).query(), Some(query), "{link}");
        }
        let keyless = Url::parse("https://api.example.com/d?x=1").unwrap();
        let as_it_is = "https://api.example.com/d?after=%7B7%7D";
        assert_eq!(pager.url(&keyless, &page(as_it_is)).as_str(), as_it_is);
        // Whatever it says of the key, it is the page that was asked for.
        let answer = mapping::read(br#"{"next": "?page=1&key=***"}"#).unwrap();
        let url = Url::parse("https://api.example.com/v1/devices?page=1&key=s").unwrap();
        let told = pager.after(&Page::default(), &answer, &Reply { url, ..reply("x") });
        assert!(told.unwrap_err().contains("itself"));
    }

    #[test]
    fn the_link_header_tells_the_next_page() {
        for (header, next) in [
            ("<https://a/2>; rel=\"next\"", Some("https://a/2")),
            (
                "<https://a/1>; rel=\"prev\", <https://a/3?x=1,2>; title=\"a\"; rel=next",
                Some("https://a/3?x=1,2"),
            ),
            ("<https://a/9>; rel=\"last next\"", Some("https://a/9")),
            ("<https://a/9>; rel=\"last\"", None),
            ("nonsense", None),
            ("<https://a/9", None),
        ] {
            assert_eq!(next_of(header).as_deref(), next, "{header}");
        }
    }
}
