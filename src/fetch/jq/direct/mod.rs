//! jq programs of the plain kind, run directly: paths, objects, comparisons and the like, of which most definitions are
//! made. Only the way from value to value is ours; what an operation does to values is the interpreter's own, so that
//! both ways come to the same (`same.rs` holds them to it). What is not here is left to the interpreter.
//!
//! Such a program cannot call itself and makes nothing that is nested deeper than it is itself, so it needs no stack of
//! its own.

mod compile;
mod run;
#[cfg(test)]
mod same;

use super::bounds::Bounds;
use jaq_core::load::parse::Term;
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::Opt;
use jaq_json::Val;

/// A program that may yield any number of values.
#[derive(Debug)]
pub(crate) enum Direct {
    Plain(Plain),
    Pipe(Box<Direct>, Box<Direct>),
    Comma(Box<Direct>, Box<Direct>),
    /// A path with `[]` in it.
    Path(Box<Direct>, Vec<Part>),
    /// Tests and what follows each; else.
    If(Vec<(Plain, Direct)>, Box<Direct>),
}

/// One that yields at most one.
#[derive(Debug)]
pub(crate) enum Plain {
    Id,
    Const(Val),
    Empty,
    Path(Box<Plain>, Vec<(Val, Opt)>),
    Arr(Box<Direct>),
    Obj(Vec<(Val, Plain)>),
    Neg(Box<Plain>),
    Math(Box<Plain>, Math, Box<Plain>),
    Cmp(Box<Plain>, Cmp, Box<Plain>),
    /// `or`, which stops at true, and `and`, which stops at false.
    Logic(Box<Plain>, bool, Box<Plain>),
    Alt(Box<Plain>, Box<Plain>),
    If(Vec<(Plain, Plain)>, Box<Plain>),
    Try(Box<Plain>),
    Pipe(Box<Plain>, Box<Plain>),
    Select(Box<Plain>),
    Not,
    ToString,
    /// `with_entries(select(…))`, of which `…` looks at `.value` only and is told that.
    Keep(Box<Plain>),
}

#[derive(Debug)]
pub(crate) enum Part {
    Index(Val, Opt),
    Each(Opt),
}

/// Why a run ended early.
enum Stop {
    /// The program failed.
    Error(jaq_json::Error),
    /// It went beyond its bounds. No `?` swallows this.
    Bound(&'static str),
    /// Nobody wants more.
    Enough,
}

impl Direct {
    /// None if it has anything that is left to the interpreter.
    pub(super) fn compile(term: &Term<&str>) -> Option<Self> {
        compile::direct(term, compile::DEPTH_MAX)
    }

    /// Hands what it yields to `each` while that says to go on, and says why it ended early, if it did.
    pub(super) fn run(
        &self,
        bounds: &Bounds,
        answer: &Val,
        mut each: impl FnMut(Val) -> bool,
    ) -> Result<(), String> {
        let ended = self.each(answer, bounds, &mut |found| match each(found.into_owned()) {
            true => Ok(()),
            false => Err(Stop::Enough),
        });
        match ended {
            // Stopped, and then found to yield nothing anyway.
            Ok(()) => bounds.stopped().map_or(Ok(()), |why| Err(why.to_owned())),
            Err(Stop::Enough) => Ok(()),
            Err(Stop::Bound(why)) => Err(why.to_owned()),
            Err(Stop::Error(error)) => Err(error.to_string()),
        }
    }
}
