//! What a program certainly yields, by its text. Pure.

use jaq_core::load::Lexer;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Parser, Term};
use jaq_core::ops::Math;
use std::collections::BTreeSet;

/// The keys of an object.
pub(crate) type Keys = BTreeSet<String>;

/// More shapes than that are not followed.
const SHAPES_MAX: usize = 64;
/// No definition nests its records deeper.
const DEPTH_MAX: usize = 100;

/// The keys of each object that a program may yield, if that is all it yields. None if its text does not tell.
pub(crate) fn objects(code: &str) -> Option<Vec<Keys>> {
    let tokens = Lexer::new(code).lex().ok()?;
    let main = Parser::new(&tokens).parse(|parser| parser.term()).ok()?;
    shapes(&main, None, DEPTH_MAX)
}

/// The shapes of a term's outputs, for an input of these shapes.
fn shapes(term: &Term<&str>, input: Option<&[Keys]>, depth: usize) -> Option<Vec<Keys>> {
    let depth = depth.checked_sub(1)?;
    let of = |term| shapes(term, input, depth);
    let found = match term {
        Term::Id => input?.to_vec(),
        Term::Obj(entries) => vec![entries.iter().map(|(key, _)| literal(key)).collect::<Option<_>>()?],
        Term::BinOp(left, BinaryOp::Pipe(None), right) => {
            shapes(right, shapes(left, input, depth).as_deref(), depth)?
        }
        Term::BinOp(_, BinaryOp::Pipe(Some(_)), right) => of(right)?,
        Term::BinOp(left, BinaryOp::Comma | BinaryOp::Alt, right) => [of(left)?, of(right)?].concat(),
        Term::BinOp(left, BinaryOp::Math(Math::Add), right) => {
            let (left, right) = (of(left)?, of(right)?);
            left.iter().flat_map(|one| right.iter().map(move |other| one | other)).collect()
        }
        Term::IfThenElse(cases, otherwise) => {
            let mut all = otherwise.as_ref().map_or_else(|| Some(input?.to_vec()), |term| of(term))?;
            for (_, then) in cases {
                all.extend(of(then)?);
            }
            all
        }
        Term::TryCatch(tried, None) => of(tried)?,
        Term::TryCatch(tried, Some(caught)) => [of(tried)?, shapes(caught, None, depth)?].concat(),
        Term::Def(_, inner) | Term::Label(_, inner) => of(inner)?,
        Term::Call("select", args) if args.len() == 1 => input?.to_vec(),
        Term::Call("empty" | "error", _) => Vec::new(),
        _ => return None,
    };
    (found.len() <= SHAPES_MAX).then_some(found)
}

/// A key that is written out.
fn literal(key: &Term<&str>) -> Option<String> {
    match key {
        Term::Str(None, parts) => match parts.as_slice() {
            [StrPart::Str(text)] => Some((*text).to_owned()),
            _ => None,
        },
        Term::Var(name) => name.strip_prefix('$').map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::objects;

    fn shown(code: &str) -> Option<Vec<String>> {
        let joined = |keys: super::Keys| keys.into_iter().collect::<Vec<_>>().join(" ");
        objects(code).map(|all| all.into_iter().map(joined).collect())
    }

    #[test]
    fn keys_of_the_objects_that_a_program_yields_are_known() {
        for (code, keys) in [
            ("{id, values: {a: 1}}", vec!["id values"]),
            (".[] | {values: .v}", vec!["values"]),
            (".a as $id | {$id, \"values\": .}", vec!["id values"]),
            ("def f: {x: 1}; .[] | select(.a) | {values: f}", vec!["values"]),
            ("{values: 1} | select(.values) | . + {id: 2}", vec!["id values"]),
            ("if .a then {id: 1} elif .b then error else {values: 2} end", vec!["values", "id"]),
            ("({id: 1}, {values: 2})?", vec!["id", "values"]),
            ("empty", vec![]),
        ] {
            assert_eq!(shown(code), Some(keys.into_iter().map(str::to_owned).collect()), "{code}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_the_text_does_not_tell() {
        for code in [
            ".",
            ".devices[]",
            "def f: {id: 1}; f",
            "{(.a): 1}",
            "{values: 1} | .id = 2",
            ". + {values: 1}",
            "if .a then {values: 1} else . end",
            "{values: 1} + .b",
            "map({values: 1})[]",
            "not jq (",
        ] {
            assert_eq!(shown(code), None, "{code}");
        }
    }
}
