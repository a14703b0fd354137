//! jq programs: compiled once, bounded in steps, time and depth. Simple ones are run directly (`direct`), the others by
//! the interpreter.
//!
//! The interpreter has no bounds of its own. Every construct with which a program can run without end therefore counts
//! a step: the head of each definition, each comma, and each output of `.[]`, `..` and `range`. A single step is not
//! bounded: sorting and grouping take time by the size of the response. `*` does not repeat texts: that could take all
//! memory.

use super::bounds::{Bounds, factor};
use super::count::{FACTOR, STEP, counted};
use super::direct::Direct;
use super::error::CompileError;
use super::functions::{self, number_or_null, parse_json, to_number, utc};
use jaq_core::box_iter::box_once;
use jaq_core::data::{DataT, HasLut};
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Lexer, Loader};
use jaq_core::native::{Fun, v};
use jaq_core::{Compiler, Ctx, Cv, Error, Exn, Lut, Native, ValXs, Vars, unwrap_valr};
use jaq_json::Val;
use std::ops::Range;
use toml::Spanned;

/// Stack for nested calls.
const DEPTH_BYTES_MAX: usize = 4 << 20;
/// A program can nest a value one level per step, and dropping it recurses: about 200 bytes of stack per level. A stack
/// overflow aborts the process, and the runtime's threads have 2 MiB. The memory is only committed when touched.
const STACK_BYTES: usize = 256 << 20;

/// No definition has a longer program, and the nesting possible in this length compiles on the stack above.
const CODE_BYTES_MAX: usize = 16 << 10;

/// The program is passed as a definition: the loader takes only definitions in parsed form.
const MAIN: &str = "__program";

/// A compiled jq program.
pub(crate) enum Program {
    /// A simple program.
    Direct(Direct),
    /// Any other.
    Interpreted(jaq_core::Filter<Bounded>),
}

/// A run of the interpreter.
pub(crate) struct Run<'a> {
    lut: &'a Lut<Bounded>,
    bounds: &'a Bounds,
    bottom: usize,
}

pub(crate) struct Bounded;

impl DataT for Bounded {
    type V<'a> = Val;
    type Data<'a> = &'a Run<'a>;
}

impl<'a> HasLut<'a, Bounded> for &'a Run<'a> {
    fn lut(&self) -> &'a Lut<Bounded> {
        self.lut
    }
}

impl Run<'_> {
    fn step(&self) -> Result<(), Exn<'static, Val>> {
        let why = match self.bounds.step() {
            Err(why) => why,
            Ok(()) if self.bottom.abs_diff(stack_address()) > DEPTH_BYTES_MAX => {
                self.bounds.stop("the program calls itself too deeply")
            }
            Ok(()) => return Ok(()),
        };
        Err(Exn::from(Error::str(why)))
    }
}

#[inline(never)]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

impl Program {
    /// Compiles a program of a definition. An error has its position in the file.
    pub(crate) fn read(text: &Spanned<String>) -> Result<Self, (Range<usize>, String)> {
        Self::compile(text.get_ref()).map_err(|error| error.in_file(text))
    }

    /// Compiles a program; an error describes what is wrong with it.
    pub(crate) fn compile(code: &str) -> Result<Self, CompileError> {
        if code.len() > CODE_BYTES_MAX {
            return Err(CompileError::whole(format!("the program is longer than {CODE_BYTES_MAX} bytes")));
        }
        // Compiling recurses by the nesting of the text.
        stacker::grow(STACK_BYTES, || Self::compile_deep(code))
    }

    fn compile_deep(code: &str) -> Result<Self, CompileError> {
        let tokens = Lexer::new(code).lex().map_err(|errors| CompileError::lexing(code, errors))?;
        let main = Parser::new(&tokens)
            .parse(|parser| parser.term())
            .map_err(|errors| CompileError::parsing(code, errors))?;
        match Direct::compile(&main).filter(|_| is_shallow(code)) {
            Some(direct) => Ok(Self::Direct(direct)),
            None => Self::interpreted(code, main),
        }
    }

    /// Compiles for the interpreter, even a simple program.
    #[cfg(test)]
    pub(crate) fn compile_interpreted(code: &str) -> Self {
        let tokens = Lexer::new(code).lex().unwrap();
        Self::interpreted(code, Parser::new(&tokens).parse(|parser| parser.term()).unwrap()).unwrap()
    }

    fn interpreted(code: &str, main: Term<&str>) -> Result<Self, CompileError> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let defs = defs.filter(|def| !functions::replaces(def.name)).chain(functions::defs());
        let defs = defs.map(as_short).chain([Def { name: MAIN, args: Vec::new(), body: main }]).map(counted);
        let arena = Arena::default();
        let modules = Loader::new(defs).load(&arena, File { code: MAIN, path: () }).map_err(|errors| {
            CompileError::whole(format!("{:?}", errors.into_iter().map(|(_, e)| e).collect::<Vec<_>>()))
        })?;
        let filter = Compiler::default().with_funs(natives()).compile(modules).map_err(|errors| {
            CompileError::undefined(code, errors.into_iter().flat_map(|(_, found)| found))
        })?;
        Ok(Self::Interpreted(filter))
    }

    /// Whether the program is simple enough to run directly; its cost is then bounded by the size of its input.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Direct(_))
    }

    /// Passes each output to `each` until that returns false. An error says why the program failed or was stopped.
    pub(crate) fn run(&self, answer: &Val, each: impl FnMut(Val) -> bool) -> Result<(), String> {
        self.run_within(&Bounds::usual(), answer, each)
    }

    pub(crate) fn run_within(
        &self,
        bounds: &Bounds,
        answer: &Val,
        each: impl FnMut(Val) -> bool,
    ) -> Result<(), String> {
        match self {
            Self::Direct(direct) => direct.run(bounds, answer, each),
            Self::Interpreted(filter) => on_large_stack(|| interpret(filter, bounds, answer.clone(), each)),
        }
    }

    /// Converts the program's first output, if there is one.
    pub(crate) fn first<T>(&self, answer: &Val, of: impl FnOnce(&Val) -> T) -> Result<Option<T>, String> {
        self.first_within(&Bounds::usual(), answer, of)
    }

    pub(crate) fn first_within<T>(
        &self,
        bounds: &Bounds,
        answer: &Val,
        of: impl FnOnce(&Val) -> T,
    ) -> Result<Option<T>, String> {
        let (mut first, mut of) = (None, Some(of));
        self.run_within(bounds, answer, |found| {
            first = of.take().map(|of| of(&found));
            false
        })?;
        Ok(first)
    }

    /// Whether the first output is true. False on errors: the rule then does not match the response.
    pub(crate) fn holds(&self, answer: &Val) -> bool {
        self.first(answer, |found| matches!(found, Val::Bool(true))) == Ok(Some(true))
    }
}

fn interpret(
    filter: &jaq_core::Filter<Bounded>,
    bounds: &Bounds,
    answer: Val,
    mut each: impl FnMut(Val) -> bool,
) -> Result<(), String> {
    let run = Run { lut: &filter.lut, bounds, bottom: stack_address() };
    let stopped = || bounds.stopped().map(str::to_owned);
    for found in filter.id.run((Ctx::<Bounded>::new(&run, Vars::new([])), answer)).map(unwrap_valr) {
        if !each(found.map_err(|error| stopped().unwrap_or_else(|| error.to_string()))?) {
            return Ok(());
        }
    }
    stopped().map_or(Ok(()), Err)
}

/// Shortens the lifetime, to combine library definitions with the program's.
fn as_short<'s>(def: Def<&'static str>) -> Def<&'s str> {
    def
}

/// All functions that programs may call. Those that reach beyond the response are errors.
fn natives() -> impl Iterator<Item = Fun<Bounded>> {
    let all = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let all = all.map(|(name, args, native): Fun<Bounded>| match name {
        "halt" | "env" | "stderr_empty" | "debug_empty" => (name, args, Native::new(|_| refused())),
        _ => (name, args, native),
    });
    let step: Native<Bounded> =
        Native::new(|(ctx, value): Cv<'_, Bounded>| box_once(ctx.data().step().map(|()| value)))
            .with_paths(|(ctx, value)| box_once(ctx.data().step().map(|()| value)))
            .with_update(|(ctx, value), update| match ctx.data().step() {
                Ok(()) => update(value),
                Err(error) => box_once(Err(error)),
            });
    let factor = Native::new(|(_, value): Cv<'_, Bounded>| box_once(factor(value).map_err(Exn::from)));
    all.filter(|(name, ..)| !functions::replaces(name)).chain([
        (STEP, v(0), step),
        (FACTOR, v(0), factor),
        ("fromjson", v(0), Native::new(|(_, value)| output(parse_json(&value)))),
        ("tonumber", v(0), Native::new(|(_, value)| output(to_number(&value)))),
        ("number_or_null", v(0), Native::new(|(_, value)| output(Ok(number_or_null(&value))))),
        ("utc", v(0), Native::new(|(_, value)| output(utc(&value)))),
    ])
}

fn output<'a>(output: Result<Val, String>) -> ValXs<'a, Val> {
    box_once(output.map_err(|error| Exn::from(Error::str(error))))
}

/// Runs programs on a stack on which any nesting that they can build is dropped safely. Nested uses share one stack.
pub(crate) fn on_large_stack<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK_BYTES / 2, STACK_BYTES, run)
}

fn refused<'a>() -> ValXs<'a, Val> {
    box_once(Err(Exn::from(Error::str("halt, env, stderr and debug are not available in a definition"))))
}

/// Whether a program's nesting is small enough for any stack.
fn is_shallow(code: &str) -> bool {
    let brackets = code.bytes().filter(|byte| matches!(byte, b'[' | b'(' | b'{')).count();
    code.len() <= 4 << 10 && brackets <= 200
}

#[cfg(test)]
mod tests {
    use super::super::bounds::TIME_MAX;
    use super::*;
    use std::time::Duration;

    /// Fewer steps than in production: tests run unoptimised.
    const STEPS: u32 = 50_000;

    fn outcome(code: &str, answer: &str) -> Result<usize, String> {
        let program = Program::compile(code).unwrap();
        let mut outputs = 0;
        let answer = serde_json::from_str(answer).unwrap();
        program.run_within(&Bounds::of(STEPS, TIME_MAX), &answer, |_| {
            outputs += 1;
            true
        })?;
        Ok(outputs)
    }

    #[test]
    fn nesting_in_the_program_text_does_not_overflow_the_stack() {
        for (open, inner, close) in
            [("[", "1", "]"), ("(", ".", ")"), ("{a:", "1", "}"), ("-", "1", ""), ("", ".", "|.")]
        {
            let times = (CODE_BYTES_MAX - 1) / (open.len() + close.len());
            let code = [&open.repeat(times), inner, &close.repeat(times)].concat();
            let ran = Program::compile(&code).map(|program| program.run(&Val::Null, |_| true));
            assert!(matches!(&ran, Ok(Ok(()) | Err(_)) | Err(_)), "{open}: {ran:?}");
            let longer = Program::compile(&[code.as_str(), &" ".repeat(CODE_BYTES_MAX)].concat());
            assert!(longer.is_err_and(|error| error.to_string().contains("longer than")));
        }
    }

    #[test]
    fn slow_program_is_stopped() {
        let program = Program::compile("[range(infinite)]").unwrap();
        let ended = program.run_within(&Bounds::of(STEPS, Duration::ZERO), &Val::Null, |_| true);
        assert_eq!(ended, Err("the program takes too long".to_owned()));
    }

    #[test]
    fn endless_program_is_stopped() {
        let twenty_commas = ["(.,.)"; 20].join("|") + " | select(false)";
        let doubling = "def a: .; def b: a|a|a|a|a|a; def c: b|b|b|b|b|b; def d: c|c|c|c|c|c; def e: d|d|d|d|d|d; \
                        def f: e|e|e|e|e|e; def g: f|f|f|f|f|f; g";
        for code in [
            "def f: f; f",
            "def f: f | f; f",
            "def f: [f]; f",
            "def f: 1 + f; f",
            "def f(g): f(g | g); f(.)",
            "def f: def g: f; g; f",
            "[range(infinite)]",
            "[repeat(1)]",
            "[repeat(1)?]",
            "last(repeat(1))",
            "reduce range(1; infinite) as $x (0; . + $x)",
            "until(false; .)",
            "[while(true; .)] | length",
            "[recurse(.)]",
            "first(recurse(.) | select(false))",
            "try (def f: f; f) catch .",
            "(def f: f; f)? // 1",
            "[.[] as $a | .[] as $b | .[] as $c | .[] as $d | 1] | length",
            "[[.,.,.,.,.,.,.,.] | combinations] | length",
            "path(def f: f; f)",
            "(def f: . | f; f) = 1",
            "limit(10; repeat(empty))",
            "reduce range(infinite) as $i (0; [.])",
            "def f: {a: .} | f; f",
            &twenty_commas,
            doubling,
        ] {
            let answer = format!("[{}]", ["1"; 60].join(","));
            let ended = outcome(code, &answer);
            assert!(ended.as_ref().is_err_and(|why| why.starts_with("the program ")), "{code}: {ended:?}");
        }
    }

    #[test]
    fn program_within_the_limits_runs_to_its_end() {
        for (code, answer, outputs) in [
            ("range(40000)", "null", 40_000),
            ("[range(40000)] | length", "null", 1),
            ("[limit(5; repeat(1))][]", "null", 5),
            ("[recurse(if . < 5000 then . + 1 else empty end)] | length", "0", 1),
            ("..", "[[1],[2]]", 5),
            (".[].a |= 1 | .[].a", r#"[{},{"a":2}]"#, 2),
            ("[paths] | length", "[[1],[2]]", 1),
            ("to_entries[] | .value", r#"{"a":1,"b":2}"#, 2),
            ("def f: if . > 0 then . - 1 | f else . end; f", "40000", 1),
            ("group_by(.a)[] | max_by(.b)", r#"[{"a":1,"b":1},{"a":2,"b":1},{"a":1,"b":3}]"#, 2),
            ("(.a, .b) += 1", "{}", 1),
            (".[]?", "1", 0),
            ("walk(.)", "[[1]]", 1),
            ("reduce range(40000) as $i (0; [.])", "0", 1),
        ] {
            assert_eq!(outcome(code, answer), Ok(outputs), "{code}");
        }
    }

    #[test]
    fn multiplying_a_text_is_an_error() {
        for code in [
            "\"a\" * 1e400",
            "1e400 * \"a\"",
            "[.[] * 9e18]",
            ".[0] *= 9e18",
            "def f: .[0] * 9e18; f",
            "\"\\(.[0] * 9e18)\"",
        ] {
            assert_eq!(outcome(code, "[\"a\"]"), Err("\"a text cannot be multiplied\"".to_owned()), "{code}");
        }
        assert_eq!(outcome("(.[] * 9e18)?", "[\"a\"]"), Ok(0));
        assert_eq!(outcome(".a *= .b | select(.a == 6)", r#"{"a":2,"b":3}"#), Ok(1));
        assert_eq!(outcome("{a: {b: 1}} * {a: {c: 2}} | select(.a.b + .a.c == 3)", "0"), Ok(1));
    }

    #[test]
    fn functions_beyond_the_response_are_errors() {
        for code in ["env", "$ENV", "halt", "halt_error", "debug", "stderr", "input", "include \"a\"; ."] {
            let program = Program::compile(code);
            assert!(
                program.is_err() || program.is_ok_and(|it| it.run(&Val::Null, |_| true).is_err()),
                "{code}"
            );
        }
    }
}
