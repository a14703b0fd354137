//! Makes a jq program count its steps: `!step` is inserted into the parsed program wherever it could run without end.
//! Pure.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

type T<'s> = Term<&'s str>;

/// Name of the counting function. Not a valid identifier, so programs cannot call it.
pub(crate) const STEP: &str = "!step";
/// Name of the function that checks operands of a multiplication; not a valid identifier either.
pub(crate) const FACTOR: &str = "!factor";

/// A library definition that counts its steps. Definitions that never call themselves do not count, to save time: they
/// cannot run longer than the program that calls them.
pub(crate) fn counted(def: Def<&str>) -> Def<&str> {
    match calls(&def.body, &Signature { name: def.name, arity: def.args.len() }) {
        true => stepping(def),
        false => Def { body: term(def.body), ..def },
    }
}

/// A definition of the program that counts its steps. All of these count: a chain of them can double the work at every
/// level.
fn stepping(def: Def<&str>) -> Def<&str> {
    // In front, so that tail calls remain tail calls and do not grow the stack.
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

/// A product of operands that are not texts: a text repeated as often as a response says could take all memory.
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
        // Expanded as the interpreter does it, to check the operands of the product.
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
        // The other forms of `range` are defined with this one.
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

/// A key without a value is short for `key: .key`, and must not be changed.
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

/// Name and arity of a function.
struct Signature<'a> {
    name: &'a str,
    arity: usize,
}

/// Whether a term calls this function. In jq every loop goes through a definition that calls itself, since only earlier
/// or enclosing definitions can be called.
fn calls(t: &T, signature: &Signature) -> bool {
    let within = |t: &T| calls(t, signature);
    let any = |all: &[T]| all.iter().any(|t| calls(t, signature));
    match t {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => false,
        Term::Str(format, parts) => {
            (*format == Some(signature.name) && signature.arity == 0)
                || parts.iter().any(|part| matches!(part, StrPart::Term(inner) if within(inner)))
        }
        Term::Arr(inner) => inner.as_deref().is_some_and(within),
        Term::Obj(entries) => entries.iter().any(|(k, v)| within(k) || v.as_ref().is_some_and(within)),
        Term::Neg(inner) | Term::Label(_, inner) => within(inner),
        Term::BinOp(left, BinaryOp::Pipe(Some(names)), right) => {
            within(left) || within(right) || pattern_calls(names, signature)
        }
        Term::BinOp(left, _, right) => within(left) || within(right),
        Term::Fold(_, of, names, parts) => within(of) || any(parts) || pattern_calls(names, signature),
        Term::TryCatch(tried, caught) => within(tried) || caught.as_deref().is_some_and(within),
        Term::IfThenElse(cases, otherwise) => {
            cases.iter().any(|(test, then)| within(test) || within(then))
                || otherwise.as_deref().is_some_and(within)
        }
        Term::Def(defs, inner) => defs.iter().any(|def| within(&def.body)) || within(inner),
        Term::Call(called, args) => (*called == signature.name && args.len() == signature.arity) || any(args),
        Term::Path(of, path) => {
            let in_part = |part: &Part<T>| match part {
                Part::Index(index) => within(index),
                Part::Range(from, to) => [from, to].into_iter().flatten().any(within),
            };
            within(of) || path.0.iter().any(|(part, _)| in_part(part))
        }
    }
}

fn pattern_calls(names: &Pattern<&str>, signature: &Signature) -> bool {
    match names {
        Pattern::Var(_) => false,
        Pattern::Arr(all) => all.iter().any(|inner| pattern_calls(inner, signature)),
        Pattern::Obj(all) => {
            all.iter().any(|(key, inner)| calls(key, signature) || pattern_calls(inner, signature))
        }
    }
}
