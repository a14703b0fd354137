//! Splits Rust into words, marks and strings, and keeps comments apart.

use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// `::`, or one other character.
    Mark,
    /// The content of a string literal.
    Text,
    Comment,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub text: String,
    pub line: usize,
    /// Under `#[cfg(test)]`.
    pub test: bool,
    /// The module that contains it, including inline modules.
    pub scope: Rc<[String]>,
}

impl Token {
    fn new(kind: Kind, text: String, line: usize) -> Self {
        Self { kind, text, line, test: false, scope: Rc::from([]) }
    }

    /// Whether the token is this word or mark.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Mark) && self.text == text
    }
}

/// The tokens of the code, and the comments.
pub fn lex(text: &str) -> (Vec<Token>, Vec<Token>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut code, mut comments) = (Vec::new(), Vec::new());
    let (mut at, mut line) = (0, 1);
    let begins = |at: usize, with: &str| with.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c));
    while at < chars.len() {
        let from = at;
        let kind;
        // The part of the token to keep, if not all of it.
        let mut inside = None;
        if begins(at, "//") {
            at += chars[at..].iter().take_while(|c| **c != '\n').count();
            kind = Some(Kind::Comment);
        } else if begins(at, "/*") {
            let mut depth = 0;
            loop {
                let (step, change) = match () {
                    () if begins(at, "/*") => (2, 1),
                    () if begins(at, "*/") => (2, -1),
                    () => (1, 0),
                };
                (at, depth) = (at + step, depth + change);
                if depth == 0 || at >= chars.len() {
                    break;
                }
            }
            kind = Some(Kind::Comment);
        } else if let Some((open, hashes, raw)) = string_opening(&chars[at..]) {
            at += open;
            let start = at;
            let close = format!("\"{}", "#".repeat(hashes));
            while at < chars.len() && !begins(at, &close) {
                at += if chars[at] == '\\' && !raw { 2 } else { 1 };
            }
            inside = Some(start..at.min(chars.len()));
            at += close.len();
            kind = Some(Kind::Text);
        } else if chars[at] == '\'' {
            // A character or a lifetime: no rule needs them.
            at += match (chars.get(at + 1), chars.get(at + 2)) {
                (Some('\\'), _) => 3 + chars[at + 3..].iter().take_while(|c| **c != '\'').count() + 1,
                (_, Some('\'')) => 3,
                _ => 1 + word_length(&chars[at + 1..]),
            };
            kind = None;
        } else if begins(at, "r#") {
            at += 2 + word_length(&chars[at + 2..]);
            inside = Some(from + 2..at);
            kind = Some(Kind::Word);
        } else if word_length(&chars[at..]) > 0 {
            at += word_length(&chars[at..]);
            kind = Some(Kind::Word);
        } else {
            at += if begins(at, "::") { 2 } else { 1 };
            kind = (!chars[from].is_whitespace()).then_some(Kind::Mark);
        }
        at = at.min(chars.len());
        if let Some(kind) = kind {
            let text = chars[inside.unwrap_or(from..at)].iter().collect();
            let into = if kind == Kind::Comment { &mut comments } else { &mut code };
            into.push(Token::new(kind, text, line));
        }
        line += chars[from..at].iter().filter(|c| **c == '\n').count();
    }
    (code, comments)
}

/// If a string literal begins here: the length of its opening, the number of `#`, whether it is raw.
fn string_opening(chars: &[char]) -> Option<(usize, usize, bool)> {
    let prefix = chars.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    let hashes = chars[prefix..].iter().take_while(|c| **c == '#').count();
    let raw = prefix > 0 && chars[prefix - 1] == 'r';
    let opens = prefix <= 2 && (raw || hashes == 0) && chars.get(prefix + hashes) == Some(&'"');
    opens.then_some((prefix + hashes + 1, hashes, raw))
}

fn word_length(chars: &[char]) -> usize {
    chars.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count()
}

/// Sets the module of each token, and whether it is compiled for tests only.
pub fn annotate(code: &mut [Token], home: Vec<String>) {
    let mut scopes: Vec<(usize, Rc<[String]>)> = vec![(0, home.into())];
    let (mut depth, mut test_until) = (0_usize, 0);
    for at in 0..code.len() {
        if is_test_only(&code[at..]) {
            test_until = test_until.max(item_end(code, at));
        }
        code[at].test = at < test_until;
        code[at].scope = scopes[scopes.len() - 1].1.clone();
        if code[at].is("{") {
            depth += 1;
            if at >= 2 && code[at - 2].is("mod") && code[at - 1].kind == Kind::Word {
                let name = code[at - 1].text.clone();
                let inner = code[at].scope.iter().cloned().chain([name]).collect();
                scopes.push((depth, inner));
            }
        } else if code[at].is("}") {
            if scopes.len() > 1 && scopes[scopes.len() - 1].0 == depth {
                scopes.pop();
            }
            depth = depth.saturating_sub(1);
        }
    }
}

/// Whether `#[cfg(test)]` or a similar attribute begins here.
fn is_test_only(code: &[Token]) -> bool {
    let begins = ["#", "[", "cfg"].iter().zip(code).filter(|(text, token)| token.is(text)).count() == 3;
    let inside = || &code[..after_brackets(code, 1)];
    begins && inside().iter().any(|it| it.is("test")) && !inside().iter().any(|it| it.is("not"))
}

/// The index after the item whose attributes begin here.
fn item_end(code: &[Token], mut at: usize) -> usize {
    while code[at..].len() > 1 && code[at].is("#") && code[at + 1].is("[") {
        at = after_brackets(code, at + 1);
    }
    while let Some(token) = code.get(at) {
        match token {
            it if it.is(";") => return at + 1,
            it if it.is("{") => return after_brackets(code, at),
            it if it.is("(") || it.is("[") => at = after_brackets(code, at),
            _ => at += 1,
        }
    }
    at
}

/// The index after the bracket that closes the one at `from`.
fn after_brackets(code: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in code.iter().enumerate().skip(from) {
        if ["(", "[", "{"].iter().any(|it| token.is(it)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|it| token.is(it)) {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    code.len()
}
