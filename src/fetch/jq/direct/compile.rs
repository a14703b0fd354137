//! From what was parsed to what can be run directly. None wherever the interpreter is needed.

use super::{Direct, Part, Plain};
use jaq_core::ValT;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::{Opt, Part as Parsed, Path};
use jaq_json::Val;

/// How deep a program may be nested: each level takes of the caller's stack.
pub(super) const DEPTH_MAX: u8 = 64;

type T<'s> = Term<&'s str>;

pub(super) fn direct(term: &T, depth: u8) -> Option<Direct> {
    let deeper = depth.checked_sub(1)?;
    let boxed = |term: &T| direct(term, deeper).map(Box::new);
    if let Some(plain) = plain(term, depth) {
        return Some(Direct::Plain(plain));
    }
    Some(match term {
        Term::BinOp(left, BinaryOp::Pipe(None), right) => Direct::Pipe(boxed(left)?, boxed(right)?),
        Term::BinOp(left, BinaryOp::Comma, right) => Direct::Comma(boxed(left)?, boxed(right)?),
        Term::Path(of, path) => Direct::Path(boxed(of)?, path.0.iter().map(part).collect::<Option<_>>()?),
        Term::IfThenElse(cases, otherwise) => {
            let case = |(test, then): &(T, T)| Some((plain(test, deeper)?, direct(then, deeper)?));
            let otherwise = otherwise.as_deref().unwrap_or(&Term::Id);
            Direct::If(cases.iter().map(case).collect::<Option<_>>()?, boxed(otherwise)?)
        }
        _ => return None,
    })
}

fn plain(term: &T, depth: u8) -> Option<Plain> {
    let deeper = depth.checked_sub(1)?;
    let boxed = |term: &T| plain(term, deeper).map(Box::new);
    Some(match term {
        Term::Id => Plain::Id,
        Term::Num(text) => Plain::Const(number(text)?),
        Term::Str(None, _) => Plain::Const(text(term)?),
        Term::Arr(None) => Plain::Arr(Box::new(Direct::Plain(Plain::Empty))),
        Term::Arr(Some(inner)) => Plain::Arr(Box::new(direct(inner, deeper)?)),
        Term::Obj(entries) => Plain::Obj(entries.iter().map(|e| entry(e, deeper)).collect::<Option<_>>()?),
        Term::Neg(inner) => Plain::Neg(boxed(inner)?),
        Term::TryCatch(inner, None) => Plain::Try(boxed(inner)?),
        Term::IfThenElse(cases, otherwise) => {
            let case = |(test, then): &(T, T)| Some((plain(test, deeper)?, plain(then, deeper)?));
            let otherwise = otherwise.as_deref().unwrap_or(&Term::Id);
            Plain::If(cases.iter().map(case).collect::<Option<_>>()?, boxed(otherwise)?)
        }
        Term::Path(of, path) => Plain::Path(boxed(of)?, path.0.iter().map(index).collect::<Option<_>>()?),
        Term::BinOp(left, op, right) => {
            // The pattern of `as $x` is the interpreter's.
            let (left, right) = (boxed(left)?, boxed(right)?);
            match op {
                BinaryOp::Pipe(None) => Plain::Pipe(left, right),
                BinaryOp::Alt => Plain::Alt(left, right),
                BinaryOp::Or => Plain::Logic(left, true, right),
                BinaryOp::And => Plain::Logic(left, false, right),
                BinaryOp::Math(op) => Plain::Math(left, *op, right),
                BinaryOp::Cmp(op) => Plain::Cmp(left, *op, right),
                _ => return None,
            }
        }
        Term::Call(name, args) => call(name, args, deeper)?,
        _ => return None,
    })
}

/// What the libraries define, said in what is here.
fn call(name: &str, args: &[T], depth: u8) -> Option<Plain> {
    Some(match (name, args) {
        ("null", []) => Plain::Const(Val::Null),
        ("true", []) => Plain::Const(Val::Bool(true)),
        ("false", []) => Plain::Const(Val::Bool(false)),
        ("empty", []) => Plain::Empty,
        ("not", []) => Plain::Not,
        ("tostring", []) => Plain::ToString,
        ("select", [test]) => Plain::Select(Box::new(plain(test, depth)?)),
        ("map", [of]) => {
            let each = Direct::Path(Box::new(Direct::Plain(Plain::Id)), vec![Part::Each(Opt::Essential)]);
            Plain::Arr(Box::new(Direct::Pipe(Box::new(each), Box::new(direct(of, depth)?))))
        }
        ("with_entries", [Term::Call("select", tests)]) => {
            let [test] = tests.as_slice() else { return None };
            Plain::Keep(Box::new(plain(&of_value(test)?, depth)?))
        }
        _ => return None,
    })
}

fn number(text: &str) -> Option<Val> {
    text.parse::<isize>().ok().map(Val::from).or_else(|| Val::from_num(text).ok())
}

/// A text without anything to be put into it.
fn text(term: &T) -> Option<Val> {
    let Term::Str(None, parts) = term else { return None };
    let mut text = String::new();
    for part in parts {
        match part {
            StrPart::Str(part) => text.push_str(part),
            StrPart::Char(c) => text.push(*c),
            StrPart::Term(_) => return None,
        }
    }
    Some(Val::utf8_str(text))
}

fn entry((key, value): &(T, Option<T>), depth: u8) -> Option<(Val, Plain)> {
    let key = text(key)?;
    let value = match value {
        Some(value) => plain(value, depth)?,
        // A key alone is short for the value of that name.
        None => Plain::Path(Box::new(Plain::Id), vec![(key.clone(), Opt::Essential)]),
    };
    Some((key, value))
}

fn index((part, opt): &(Parsed<T>, Opt)) -> Option<(Val, Opt)> {
    match part {
        Parsed::Index(index @ Term::Str(..)) => Some((text(index)?, *opt)),
        Parsed::Index(Term::Num(index)) => Some((number(index)?, *opt)),
        _ => None,
    }
}

fn part(parsed: &(Parsed<T>, Opt)) -> Option<Part> {
    match parsed {
        (Parsed::Range(None, None), opt) => Some(Part::Each(*opt)),
        other => index(other).map(|(index, opt)| Part::Index(index, opt)),
    }
}

/// The same test, of a value in place of the entry `{key, value}` that holds it; none if it looks at anything else.
fn of_value<'s>(term: &T<'s>) -> Option<T<'s>> {
    let boxed = |term: &T<'s>| of_value(term).map(Box::new);
    Some(match term {
        Term::Num(_) | Term::Str(..) => term.clone(),
        Term::Call("null" | "true" | "false", args) if args.is_empty() => term.clone(),
        Term::Path(of, path) if matches!(**of, Term::Id) => match path.0.split_first()? {
            ((Parsed::Index(Term::Str(None, name)), _), rest) => match (name.as_slice(), rest) {
                ([StrPart::Str("value")], []) => Term::Id,
                ([StrPart::Str("value")], rest) => Term::Path(Box::new(Term::Id), Path(rest.to_vec())),
                _ => return None,
            },
            _ => return None,
        },
        Term::BinOp(left, BinaryOp::Pipe(None), right) => {
            Term::BinOp(boxed(left)?, BinaryOp::Pipe(None), right.clone())
        }
        Term::BinOp(_, BinaryOp::Pipe(_), _) => return None,
        Term::BinOp(left, op, right) => Term::BinOp(boxed(left)?, op.clone(), boxed(right)?),
        _ => return None,
    })
}
