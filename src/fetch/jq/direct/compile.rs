//! Compiles parsed programs for direct execution. None wherever the interpreter is needed.

use super::{Direct, Part, Single};
use jaq_core::ValT;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Term};
use jaq_core::path::{Opt, Part as Parsed, Path};
use jaq_json::Val;

/// How deep a program may be nested: each level uses the caller's stack.
pub(super) const DEPTH_MAX: u8 = 64;

type T<'s> = Term<&'s str>;

pub(super) fn direct(term: &T, depth: u8) -> Option<Direct> {
    let deeper = depth.checked_sub(1)?;
    let boxed = |term: &T| direct(term, deeper).map(Box::new);
    if let Some(single) = single(term, depth) {
        return Some(Direct::Single(single));
    }
    Some(match term {
        Term::BinOp(left, BinaryOp::Pipe(None), right) => Direct::Pipe(boxed(left)?, boxed(right)?),
        Term::BinOp(left, BinaryOp::Comma, right) => Direct::Comma(boxed(left)?, boxed(right)?),
        Term::Path(of, path) => Direct::Path(boxed(of)?, path.0.iter().map(part).collect::<Option<_>>()?),
        Term::IfThenElse(cases, otherwise) => {
            let case = |(test, then): &(T, T)| Some((single(test, deeper)?, direct(then, deeper)?));
            let otherwise = otherwise.as_deref().unwrap_or(&Term::Id);
            Direct::If(cases.iter().map(case).collect::<Option<_>>()?, boxed(otherwise)?)
        }
        _ => return None,
    })
}

fn single(term: &T, depth: u8) -> Option<Single> {
    let deeper = depth.checked_sub(1)?;
    let boxed = |term: &T| single(term, deeper).map(Box::new);
    Some(match term {
        Term::Id => Single::Id,
        Term::Num(text) => Single::Const(number(text)?),
        Term::Str(None, _) => Single::Const(text(term)?),
        Term::Arr(None) => Single::Arr(Box::new(Direct::Single(Single::Empty))),
        Term::Arr(Some(inner)) => Single::Arr(Box::new(direct(inner, deeper)?)),
        Term::Obj(entries) => Single::Obj(entries.iter().map(|e| entry(e, deeper)).collect::<Option<_>>()?),
        Term::Neg(inner) => Single::Neg(boxed(inner)?),
        Term::TryCatch(inner, None) => Single::Try(boxed(inner)?),
        Term::IfThenElse(cases, otherwise) => {
            let case = |(test, then): &(T, T)| Some((single(test, deeper)?, single(then, deeper)?));
            let otherwise = otherwise.as_deref().unwrap_or(&Term::Id);
            Single::If(cases.iter().map(case).collect::<Option<_>>()?, boxed(otherwise)?)
        }
        Term::Path(of, path) => Single::Path(boxed(of)?, path.0.iter().map(index).collect::<Option<_>>()?),
        Term::BinOp(left, op, right) => {
            // Patterns (`as $x`) need the interpreter.
            let (left, right) = (boxed(left)?, boxed(right)?);
            match op {
                BinaryOp::Pipe(None) => Single::Pipe(left, right),
                BinaryOp::Alt => Single::Alt(left, right),
                BinaryOp::Or => Single::Logic(left, true, right),
                BinaryOp::And => Single::Logic(left, false, right),
                BinaryOp::Math(op) => Single::Math(left, *op, right),
                BinaryOp::Cmp(op) => Single::Cmp(left, *op, right),
                _ => return None,
            }
        }
        Term::Call(name, args) => call(name, args, deeper)?,
        _ => return None,
    })
}

/// Calls of library functions that can be expressed by the terms here.
fn call(name: &str, args: &[T], depth: u8) -> Option<Single> {
    Some(match (name, args) {
        ("null", []) => Single::Const(Val::Null),
        ("true", []) => Single::Const(Val::Bool(true)),
        ("false", []) => Single::Const(Val::Bool(false)),
        ("empty", []) => Single::Empty,
        ("not", []) => Single::Not,
        ("tostring", []) => Single::ToString,
        ("select", [test]) => Single::Select(Box::new(single(test, depth)?)),
        ("map", [of]) => {
            let each = Direct::Path(Box::new(Direct::Single(Single::Id)), vec![Part::Each(Opt::Essential)]);
            Single::Arr(Box::new(Direct::Pipe(Box::new(each), Box::new(direct(of, depth)?))))
        }
        ("with_entries", [Term::Call("select", tests)]) => {
            let [test] = tests.as_slice() else { return None };
            Single::KeepEntries(Box::new(single(&of_value(test)?, depth)?))
        }
        _ => return None,
    })
}

fn number(text: &str) -> Option<Val> {
    text.parse::<isize>().ok().map(Val::from).or_else(|| Val::from_num(text).ok())
}

/// A text literal without interpolation.
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

fn entry((key, value): &(T, Option<T>), depth: u8) -> Option<(Val, Single)> {
    let key = text(key)?;
    let value = match value {
        Some(value) => single(value, depth)?,
        // A key without a value is short for `key: .key`.
        None => Single::Path(Box::new(Single::Id), vec![(key.clone(), Opt::Essential)]),
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

/// Rewrites a condition on an entry `{key, value}` to one on its value; none if it uses anything but the value.
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
