//! Finds the next page of a response. Pure.

use super::mapping;
use crate::fetch::jq::Program;
use crate::fetch::wire::Response;
use crate::provider::{PageBy, Pages};
use jaq_json::Val;
use reqwest::Url;
use reqwest::header::LINK;
use serde_json::Value;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;

/// A resource's paging, compiled.
pub(crate) struct Pager {
    pages: Pages,
    more: Option<Program>,
    total: Option<Program>,
    next: Option<Program>,
    /// Names of the query parameters that contain credentials.
    credentials: Vec<String>,
}

/// Which page a request is for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Page {
    /// From 0.
    pub(crate) index: u32,
    /// The page's number or cursor; none for a first page without one.
    pub(crate) value: Option<Value>,
    /// The page's URL, if it comes from a link.
    pub(crate) url: Option<Url>,
}

impl Pager {
    /// Compiles the programs. Errors have their position in the file.
    pub(crate) fn compile(pages: &Pages, credentials: &[&str]) -> Result<Self, Vec<(Range<usize>, String)>> {
        let mut errors = Vec::new();
        let mut program = |text: &Option<Spanned<String>>| {
            let text = text.as_ref()?;
            Program::read(text).map_err(|error| errors.push(error)).ok()
        };
        let (more, total, next) = (program(&pages.more), program(&pages.total), program(&pages.next));
        if !errors.is_empty() {
            return Err(errors);
        }
        let credentials = credentials.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { pages: pages.clone(), more, total, next, credentials })
    }

    /// Every program of the paging.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &Program> {
        self.more.iter().chain(&self.total).chain(&self.next)
    }

    /// The first page.
    pub(crate) fn first(&self) -> Page {
        let value = (self.pages.by == PageBy::Number).then(|| self.pages.number(0).into());
        Page { value, ..Page::default() }
    }

    /// The maximum time from the first page's request to the last one's.
    pub(crate) fn within(&self) -> Duration {
        Duration::from_millis(self.pages.within.as_ms())
    }

    /// The URL of a page. `url` is the resource's; its credentials replace those of a link, since links omit
    /// credentials or contain outdated ones.
    pub(crate) fn url(&self, url: &Url, page: &Page) -> Url {
        if let Some(link) = &page.url {
            let mut link = self.without_credentials(link);
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

    /// The page after this one; none after the last. An error says why the next page must not be fetched.
    pub(crate) fn after(&self, page: &Page, json: &Val, response: &Response) -> Result<Option<Page>, String> {
        let index = page.index + 1;
        let next = match self.pages.by {
            PageBy::Number => self.next_number(index, json)?.map(|value| Page {
                index,
                value: Some(value.into()),
                url: None,
            }),
            PageBy::Cursor => {
                self.next_text(json)?.map(|value| Page { index, value: Some(value.into()), url: None })
            }
            PageBy::Link => match self.link(json, response)? {
                Some(link) => {
                    Some(Page { index, value: None, url: Some(self.same_origin(&link, &response.url)?) })
                }
                None => None,
            },
        };
        match next {
            Some(_) if index >= self.pages.max => Err(format!(
                "the response has more than {} pages: raise pages.max of the definition",
                self.pages.max
            )),
            // Compared without credentials: the requested URL has them, links may not.
            Some(next)
                if next.url.as_ref().is_some_and(|url| {
                    self.without_credentials(url) == self.without_credentials(&response.url)
                }) =>
            {
                Err("the response names itself as the next page".to_owned())
            }
            Some(next) if self.pages.by == PageBy::Cursor && next.value == page.value => {
                Err("the response names itself as the next page".to_owned())
            }
            next => Ok(next),
        }
    }

    fn next_number(&self, index: u32, json: &Val) -> Result<Option<u64>, String> {
        let number = self.pages.number(index);
        let is_there = match (&self.more, &self.total) {
            (Some(more), _) => {
                let found = more.first(json, |found| match found {
                    Val::Bool(more) => Some(*more),
                    _ => None,
                });
                let found = found.map_err(|error| format!("pages.more failed: {error}"))?;
                found.flatten().ok_or("pages.more yields neither true nor false for this response")?
            }
            (None, Some(total)) => {
                let found = total.first(json, mapping::text);
                let found = found.map_err(|error| format!("pages.total failed: {error}"))?.flatten();
                let total = found.and_then(|text| text.parse::<f64>().ok());
                let total = total.ok_or("pages.total yields no number for this response")?;
                (number as f64) < self.pages.number(0) as f64 + total
            }
            (None, None) => false,
        };
        Ok(is_there.then_some(number))
    }

    fn is_credential(&self, name: &str) -> bool {
        self.credentials.iter().any(|known| known == name)
    }

    /// The URL without credentials; unchanged if it has none.
    fn without_credentials(&self, url: &Url) -> Url {
        let mut stripped = url.clone();
        if !url.query_pairs().any(|(name, _)| self.is_credential(&name)) {
            return stripped;
        }
        let others: Vec<_> = url.query_pairs().filter(|(name, _)| !self.is_credential(name)).collect();
        stripped.set_query(None);
        if !others.is_empty() {
            stripped.query_pairs_mut().extend_pairs(others);
        }
        stripped
    }

    fn next_text(&self, json: &Val) -> Result<Option<String>, String> {
        let Some(next) = &self.next else { return Ok(None) };
        let found = next.first(json, mapping::text).map_err(|error| format!("pages.next failed: {error}"))?;
        Ok(found.flatten().filter(|text| !text.is_empty()))
    }

    fn link(&self, json: &Val, response: &Response) -> Result<Option<String>, String> {
        match &self.next {
            Some(_) => self.next_text(json),
            None => {
                Ok(response.headers.get_all(LINK).iter().find_map(|value| next_link(value.to_str().ok()?)))
            }
        }
    }

    /// Resolves a link; refuses other origins, so that credentials are sent to this one only.
    fn same_origin(&self, link: &str, from: &Url) -> Result<Url, String> {
        let url =
            from.join(link).map_err(|error| format!("the link to the next page is not a URL: {error}"))?;
        match url.origin() == from.origin() {
            true => Ok(url),
            false => Err(format!(
                "the link to the next page leads to {} and not to {}, where this page is: it is not followed",
                url.origin().ascii_serialization(),
                from.origin().ascii_serialization()
            )),
        }
    }
}

/// The `rel=next` target of a `Link` header (RFC 8288): `<https://…>; rel="next", <…>; rel="last"`.
fn next_link(header: &str) -> Option<String> {
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

    fn response(link: &str) -> Response {
        let headers = HeaderMap::from_iter([(LINK, HeaderValue::from_str(link).unwrap())]);
        let url = Url::parse("https://api.example.com/v1/devices?page=1").unwrap();
        Response { url, status: 200, headers, body: Body::default(), took: Duration::ZERO }
    }

    /// The next page after each of these responses.
    fn next_pages(pager: &Pager, bodies: &[&str]) -> Vec<Result<Option<String>, String>> {
        let mut page = pager.first();
        let mut pages = Vec::new();
        for body in bodies {
            let next = pager.after(&page, &mapping::parse(body.as_bytes()).unwrap(), &response("x"));
            page = next.clone().ok().flatten().unwrap_or_default();
            let text = |page: Page| match (page.value, page.url) {
                (Some(Value::String(text)), _) => text,
                (Some(other), _) => other.to_string(),
                (None, url) => url.map(String::from).unwrap_or_default(),
            };
            pages.push(next.map(|next| next.map(text)));
        }
        pages
    }

    fn next_is(text: &str) -> Result<Option<String>, String> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn page_numbers_and_offsets_are_counted() {
        let more = pager("by = \"number\"\nparam = \"page\"\nmax = 9\nmore = \".hasNext\"");
        assert_eq!(more.first().value, Some(1.into()));
        let more = next_pages(&more, &["{\"hasNext\": true}", "{\"hasNext\": true}", "{\"hasNext\": false}"]);
        assert_eq!(more, [next_is("2"), next_is("3"), Ok(None)]);
        let pages = pager("by = \"number\"\nparam = \"page\"\nmax = 9\ntotal = \".pages\"");
        assert_eq!(next_pages(&pages, &["{\"pages\": 2}", "{\"pages\": 2}"]), [next_is("2"), Ok(None)]);
        assert_eq!(next_pages(&pages, &["{\"pages\": 0}"]), [Ok(None)]);
        assert!(next_pages(&pages, &["{}"])[0].as_ref().unwrap_err().contains("pages.total"));
        let more = pager("by = \"number\"\nparam = \"page\"\nmax = 9\nmore = \".hasNext\"");
        assert!(next_pages(&more, &["{}"])[0].as_ref().unwrap_err().contains("neither true nor false"));
        assert!(next_pages(&more, &["[]"])[0].as_ref().unwrap_err().contains("pages.more failed"));
        let text = "by = \"number\"\nparam = \"from\"\nmax = 9\ntotal = \".n\"\nfirst = 0\nstep = 100";
        let n = "{\"n\": 200}";
        assert_eq!(next_pages(&pager(text), &[n, n]), [next_is("100"), Ok(None)]);
    }

    #[test]
    fn cursor_paging_ends_without_a_cursor() {
        let cursor = pager("by = \"cursor\"\nparam = \"after\"\nmax = 9\nnext = \".next\"");
        assert_eq!(cursor.first(), Page::default());
        assert_eq!(
            next_pages(&cursor, &["{\"next\": \"b\"}", "{\"next\": 7}"]),
            [next_is("b"), next_is("7")]
        );
        for last in ["{\"next\": null}", "{\"next\": \"\"}", "{}"] {
            assert_eq!(next_pages(&cursor, &[last]), [Ok(None)], "{last}");
        }
        let circle = next_pages(&cursor, &["{\"next\": \"b\"}", "{\"next\": \"b\"}"]);
        assert!(circle[1].as_ref().unwrap_err().contains("itself"));
    }

    #[test]
    fn pages_beyond_the_maximum_are_not_fetched() {
        let two = pager("by = \"number\"\nparam = \"page\"\nmax = 2\nmore = \"true\"");
        let pages = next_pages(&two, &["{}", "{}"]);
        assert_eq!(pages[0], next_is("2"));
        assert!(pages[1].as_ref().unwrap_err().contains("more than 2 pages"));
    }

    #[test]
    fn links_to_other_origins_are_refused() {
        let jq = pager("by = \"link\"\nmax = 9\nnext = \"._links.next.href\"");
        let link = |to: &str| {
            next_pages(&jq, &[&format!("{{\"_links\": {{\"next\": {{\"href\": {to:?}}}}}}}")])[0].clone()
        };
        let next = "https://api.example.com/v1/devices?page=2";
        assert_eq!(link(next), next_is(next));
        assert_eq!(link("?page=2"), next_is(next));
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
        assert_eq!(next_pages(&jq, &["{}"]), [Ok(None)]);
    }

    #[test]
    fn page_parameter_replaces_the_one_in_the_url() {
        let url = Url::parse("https://api.example.com/d?key=s%26&page=9&x=1").unwrap();
        let page = Page { index: 1, value: Some("a&b".into()), url: None };
        let cursor = pager("by = \"cursor\"\nparam = \"page\"\nmax = 9\nnext = \".next\"");
        let expected = "https://api.example.com/d?key=s%26&x=1&page=a%26b";
        assert_eq!(cursor.url(&url, &page).as_str(), expected);
        assert_eq!(cursor.url(&url, &Page::default()), url);
    }

    #[test]
    fn links_get_the_credentials_of_the_call() {
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
        // The same page, with another value of the credential.
        let json = mapping::parse(br#"{"next": "?page=1&key=***"}"#).unwrap();
        let url = Url::parse("https://api.example.com/v1/devices?page=1&key=s").unwrap();
        let next = pager.after(&Page::default(), &json, &Response { url, ..response("x") });
        assert!(next.unwrap_err().contains("itself"));
    }

    #[test]
    fn link_header_names_the_next_page() {
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
            assert_eq!(next_link(header).as_deref(), next, "{header}");
        }
    }
}
