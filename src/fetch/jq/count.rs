//! Makes a jq program count its steps: the text is parsed, and `!step` put in wherever it could run on. Pure.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

type T<'s> = Term<&'s str>;

/// What it is called in programs, where nobody can call it.
pub(crate) const STEP: &str = "!step";
/// Likewise what lets by what may be multiplied.
pub(crate) const FACTOR: &str = "!factor";

/// The definition of a library, counting. Counting one that never calls itself would only cost: it is no longer than
/// the program that calls it.
pub(crate) fn counted(def: Def<&str>) -> Def<&str> {
    match calls(&def.body, &Sign { name: def.name, arity: def.args.len() }) {
        true => stepping(def),
        false => Def { body: term(def.body), ..def },
    }
}

/// A definition of the program's own, counting: those that only call each other can double at every level.
fn stepping(def: Def<&str>) -> Def<&str> {
    // In front, so that a call at the end of the body remains one: else each turn would take of the stack.
    Def { body: step_before(term(def.body)), ..def }
}

fn step_before(term: T) -> T {
    pipe(Term::Call(STEP, Vec::new()), term)
}

fn pipe<'s>(left: T<'s>, right: T<'s>) -> T<'s> {
    Term::BinOp(Box::new(left), BinaryOp::Pipe(None), Box::new(right))
}

fn step_after(term: T) -> T {
    pipe(term, Term::Call(STEP, Vec::new()))
}

/// Of what is no text: one repeated as often as an answer says takes all the memory there is.
fn product<'s>(left: T<'s>, right: T<'s>) -> T<'s> {
    let factor = |term| Box::new(pipe(term, Term::Call(FACTOR, Vec::new())));
    Term::BinOp(factor(left), BinaryOp::Math(Math::Mul), factor(right))
}

fn boxed(mut inner: Box<T>) -> Box<T> {
    *inner = term(std::mem::take(&mut *inner));
    inner
}

fn terms(all: Vec<T>) -> Vec<T> {
    all.into_iter().map(term).collect()
}

fn term(t: T) -> T {
    match t {
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Var(_) => t,
        Term::Recurse => step_after(t),
        Term::Str(format, parts) => Term::Str(format, parts.into_iter().map(part).collect()),
        Term::Arr(inner) => Term::Arr(inner.map(boxed)),
        Term::Obj(entries) => Term::Obj(entries.into_iter().map(entry).collect()),
        Term::Neg(inner) => Term::Neg(boxed(inner)),
        Term::BinOp(left, BinaryOp::Math(Math::Mul), right) => product(term(*left), term(*right)),
        // As the interpreter takes it apart, with the product in sight.
        Term::BinOp(left, BinaryOp::UpdateMath(Math::Mul), right) => {
            let update = product(Term::Id, Term::Var("$!factor"));
            let update = Term::BinOp(boxed(left), BinaryOp::Update, Box::new(update));
            let named = BinaryOp::Pipe(Some(Pattern::Var("$!factor")));
            Term::BinOp(boxed(right), named, Box::new(update))
        }
        Term::BinOp(left, op, right) => {
            let op = match op {
                BinaryOp::Pipe(Some(names)) => BinaryOp::Pipe(Some(pattern(names))),
                op => op,
            };
            // Each comma doubles what comes after it.
            let right = match op {
                BinaryOp::Comma => Box::new(step_before(term(*right))),
                _ => boxed(right),
            };
            Term::BinOp(boxed(left), op, right)
        }
        Term::Label(name, inner) => Term::Label(name, boxed(inner)),
        Term::Fold(name, of, names, parts) => Term::Fold(name, boxed(of), pattern(names), terms(parts)),
        Term::TryCatch(tried, caught) => Term::TryCatch(boxed(tried), caught.map(boxed)),
        Term::IfThenElse(cases, otherwise) => {
            let cases = cases.into_iter().map(|(test, then)| (term(test), term(then))).collect();
            Term::IfThenElse(cases, otherwise.map(boxed))
        }
        Term::Def(defs, inner) => Term::Def(defs.into_iter().map(stepping).collect(), boxed(inner)),
        // The others are made of this one.
        Term::Call("range", args) if args.len() == 3 => step_after(Term::Call("range", terms(args))),
        Term::Call(name, args) => Term::Call(name, terms(args)),
        Term::Path(of, path) => {
            let every = path.0.iter().any(|(part, _)| matches!(part, Part::Range(None, None)));
            let parts = path.0.into_iter().map(|(part, opt)| (path_part(part), opt)).collect();
            let path = Term::Path(boxed(of), Path(parts));
            if every { step_after(path) } else { path }
        }
    }
}

/// A key alone is short for a value of that name, and must stay as it is.
fn entry<'s>((key, value): (T<'s>, Option<T<'s>>)) -> (T<'s>, Option<T<'s>>) {
    match value {
        Some(value) => (term(key), Some(term(value))),
        None => (key, None),
    }
}

fn path_part(part: Part<T>) -> Part<T> {
    match part {
        Part::Index(index) => Part::Index(term(index)),
        Part::Range(from, to) => Part::Range(from.map(term), to.map(term)),
    }
}

fn part<'s>(part: StrPart<&'s str, T<'s>>) -> StrPart<&'s str, T<'s>> {
    match part {
        StrPart::Term(inner) => StrPart::Term(term(inner)),
        text => text,
    }
}

fn pattern(names: Pattern<&str>) -> Pattern<&str> {
    match names {
        Pattern::Var(_) => names,
        Pattern::Arr(all) => Pattern::Arr(all.into_iter().map(pattern).collect()),
        Pattern::Obj(all) => {
            Pattern::Obj(all.into_iter().map(|(key, names)| (term(key), pattern(names))).collect())
        }
    }
}

/// Whom a call means.
struct Sign<'a> {
    name: &'a str,
    arity: usize,
}

/// Whether such a call stands anywhere in it. In jq, whatever loops has a definition that names itself: only
/// what is defined before, or around, can be called.
fn calls(t: &T, sign: &Sign) -> bool {
    let within = |t: &T| calls(t, sign);
    let any = |all: &[T]| all.iter().any(|t| calls(t, sign));
    match t {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => false,
        Term::Str(format, parts) => {
            (*format == Some(sign.name) && sign.arity == 0)
                || parts.iter().any(|part| matches!(part, StrPart::Term(inner) if within(inner)))
        }
        Term::Arr(inner) => inner.as_deref().is_some_and(within),
        Term::Obj(entries) => entries.iter().any(|(k, v)| within(k) || v.as_ref().is_some_and(within)),
        Term::Neg(inner) | Term::Label(_, inner) => within(inner),
        Term::BinOp(left, BinaryOp::Pipe(Some(names)), right) => {
            within(left) || within(right) || named(names, sign)
        }
        Term::BinOp(left, _, right) => within(left) || within(right),
        Term::Fold(_, of, names, parts) => within(of) || any(parts) || named(names, sign),
        Term::TryCatch(tried, caught) => within(tried) || caught.as_deref().is_some_and(within),
        Term::IfThenElse(cases, otherwise) => {
            cases.iter().any(|(test, then)| within(test) || within(then))
                || otherwise.as_deref().is_some_and(within)
        }
        Term::Def(defs, inner) => defs.iter().any(|def| within(&def.body)) || within(inner),
        Term::Call(called, args) => (*called == sign.name && args.len() == sign.arity) || any(args),
        Term::Path(of, path) => {
            let in_part = |part: &Part<T>| match part {
                Part::Index(index) => within(index),
                Part::Range(from, to) => [from, to].into_iter().flatten().any(within),
            };
            within(of) || path.0.iter().any(|(part, _)| in_part(part))
        }
    }
}

fn named(names: &Pattern<&str>, sign: &Sign) -> bool {
    match names {
        Pattern::Var(_) => false,
        Pattern::Arr(all) => all.iter().any(|inner| named(inner, sign)),
        Pattern::Obj(all) => all.iter().any(|(key, inner)| calls(key, sign) || named(inner, sign)),
    }
}
