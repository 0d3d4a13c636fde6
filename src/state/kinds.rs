//! What kinds of values the parameters of a prepared statement have had, on MySQL.
//!
//! FACT(mysql 9.7): a parameter has the type of the values it had before. After a number a text is
//! read as one (`s = ?` with 5 and then with 'abc' finds every row that is no number), and after
//! the text 1.5 the text 5 is a decimal. Where its values change its type, the server prepares the
//! statement again, under the sql_mode and the character sets of that moment. A copy of a statement
//! on a connection is therefore of use only to sessions whose own executions would have made it what
//! it is; everybody else prepares the statement anew.
//!
//! ```text
//! Fresh (no kinds) ── an execution ─► Uniform: one kind for each parameter, or only NULL so far
//! Uniform ── a value of another kind, or of one that is like no other ─► Mixed: one statement's own
//! ```

use super::prepared::{EXECUTE_HEADER, ExecuteForm};
use crate::protocol::attribute;
use crate::protocol::wire::{Cursor, Malformed};

/// The kind of a parameter's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// The type as clients send it, with the flag for unsigned numbers.
    sent: u16,
    form: Form,
}

/// What a text is to a parameter that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// No text, or one for a parameter that is a text.
    Plain,
    Integer,
    NegativeInteger,
    /// Digits with a point among them.
    Decimal,
    Date,
    /// With so many digits behind the seconds.
    Moment(usize),
    /// Whatever it makes of the parameter, no other value need do the same.
    Odd,
}

/// What one execution gives the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// By parameter, `None` for NULL.
    kinds: Vec<Option<Kind>>,
    owner: Owner,
    circumstances: Box<str>,
}

/// A statement of one session: the session's id, and the statement's.
pub type Owner = (u32, u32);

/// The kinds of all executions so far.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    /// By parameter; empty before the first execution, `None` where there was only NULL.
    list: Vec<Option<Kind>>,
    /// Kinds were mixed, in an order that only this statement has had.
    mixed_by: Option<Owner>,
    /// The circumstances in which they became what they are.
    under: Option<Box<str>>,
    /// Whose executions they were, if one statement's only.
    only: Option<Owner>,
}

/// Whose they were does not count.
impl PartialEq for Kinds {
    fn eq(&self, other: &Self) -> bool {
        (&self.list, self.mixed_by, &self.under) == (&other.list, other.mixed_by, &other.under)
    }
}

impl Eq for Kinds {}

impl Kinds {
    /// What they are after one more execution.
    pub fn with(&self, execution: &Execution) -> Self {
        let mut after = self.clone();
        let is_its_own = self.are_none() || self.only == Some(execution.owner);
        after.only = is_its_own.then_some(execution.owner);
        after.list.resize(execution.kinds.len(), None);
        for (known, given) in after.list.iter_mut().zip(&execution.kinds) {
            let Some(kind) = given.filter(|kind| *known != Some(*kind)) else { continue };
            if known.is_some() || kind.form == Form::Odd {
                after.mixed_by.get_or_insert(execution.owner);
            }
            *known = Some(kind);
            after.under = Some(execution.circumstances.clone());
        }
        after
    }

    /// Whether nothing was executed yet.
    pub fn are_none(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether a copy with these kinds is, for an execution of a statement that has had `own`, what
    /// it would be if nobody else had used it. One that nobody else has used may have missed some of
    /// `own`, but is nearer to it than a new one.
    pub fn serve(&self, own: &Self, execution: &Execution) -> bool {
        if self.are_none() || self.only == Some(execution.owner) || self == own {
            return true;
        }
        let after = own.with(execution);
        after.mixed_by.is_none() && self.with(execution) == after
    }
}

impl Execution {
    /// Reads a whole COM_STMT_EXECUTE payload, with types, of a statement with so many parameters.
    /// `types`: what the server told they are; empty if it did not. With `has_long_data` it has
    /// values that are not in the payload, of who knows which of them.
    ///
    /// # Errors
    /// When the payload is too short.
    pub fn read(
        payload: &[u8],
        parameters: u16,
        form: ExecuteForm,
        (types, has_long_data): (&[u8], bool),
    ) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.take(EXECUTE_HEADER, "header")?;
        let mut count = usize::from(parameters);
        if form == ExecuteForm::Attributes
            && (count > 0 || payload[5] & super::prepared::COUNT_AVAILABLE != 0)
        {
            let told = cursor.lenenc("number of parameters")?;
            count = usize::try_from(told).ok().filter(|&count| count <= payload.len()).unwrap_or(0);
        }
        let nulls = cursor.take(count.div_ceil(8), "NULL bitmap")?;
        cursor.u8("types")?;
        let mut sent = Vec::with_capacity(usize::from(parameters));
        for index in 0..count {
            let kind = cursor.u16("type")?;
            if form == ExecuteForm::Attributes {
                cursor.lenenc_bytes("name")?;
            }
            if index < usize::from(parameters) {
                sent.push(kind);
            }
        }
        let mut kinds = Vec::with_capacity(sent.len());
        for (index, sent) in sent.into_iter().enumerate() {
            if has_long_data {
                kinds.push(Some(Kind { sent, form: Form::Odd }));
                continue;
            }
            if nulls[index / 8] & 1 << (index % 8) != 0 {
                kinds.push(None);
                continue;
            }
            let value = value(&mut cursor, sent)?;
            let takes_texts = types.get(index).copied().is_some_and(is_text);
            let form = match is_sent_as_text(sent) && !takes_texts {
                true => form_of(value),
                false => Form::Plain,
            };
            kinds.push(Some(Kind { sent, form }));
        }
        Ok(Self { kinds, owner: (0, 0), circumstances: Box::default() })
    }

    /// As one of a statement's, in such circumstances.
    pub fn of(self, owner: Owner, circumstances: Box<str>) -> Self {
        Self { owner, circumstances, ..self }
    }
}

/// The bytes of a value of this type.
fn value<'a>(cursor: &mut Cursor<'a>, sent: u16) -> Result<&'a [u8], Malformed> {
    attribute::value(cursor, sent.to_le_bytes()[0])
}

/// Whether values of a type are written as texts: DECIMAL in both forms, VARCHAR, JSON, ENUM, SET,
/// BLOBs, strings.
fn is_sent_as_text(sent: u16) -> bool {
    matches!(sent.to_le_bytes()[0], 0 | 15 | 245..=254)
}

/// Whether a parameter of this type takes texts as they are.
fn is_text(wanted: u8) -> bool {
    matches!(wanted, 15 | 245 | 247..=254)
}

/// Most digits that are a BIGINT whatever they are.
const DIGITS_MAX: usize = 18;

fn form_of(text: &[u8]) -> Form {
    let are_digits = |text: &[u8]| {
        !text.is_empty() && text.len() <= DIGITS_MAX && text.iter().all(u8::is_ascii_digit)
    };
    match text {
        _ if are_digits(text) => Form::Integer,
        [b'-', digits @ ..] if are_digits(digits) => Form::NegativeInteger,
        _ => match text.iter().position(|&byte| byte == b'.') {
            Some(point) if are_digits(&text[..point]) && are_digits(&text[point + 1..]) => {
                Form::Decimal
            }
            _ => form_of_time(text),
        },
    }
}

/// The form of `YYYY-MM-DD[ hh:mm:ss[.f...]]`; a day behind the 28th may be none.
fn form_of_time(text: &[u8]) -> Form {
    let two = |at: usize| match text.get(at..at + 2) {
        Some([tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => Some((tens - b'0') * 10 + ones - b'0'),
        _ => None,
    };
    let within = |at: usize, range: std::ops::RangeInclusive<u8>| {
        two(at).is_some_and(|number| range.contains(&number))
    };
    let marks = |marks: &[(usize, u8)]| marks.iter().all(|&(at, mark)| text.get(at) == Some(&mark));
    let is_date = two(0).is_some_and(|century| century > 9)
        && two(2).is_some()
        && within(5, 1..=12)
        && within(8, 1..=28)
        && marks(&[(4, b'-'), (7, b'-')]);
    if !is_date || text.len() == 10 {
        return if is_date { Form::Date } else { Form::Odd };
    }
    let is_moment = within(11, 0..=23)
        && within(14, 0..=59)
        && within(17, 0..=59)
        && marks(&[(10, b' '), (13, b':'), (16, b':')]);
    let fraction = text.get(20..).unwrap_or_default();
    let is_fraction = marks(&[(19, b'.')]) && fraction.iter().all(u8::is_ascii_digit);
    match fraction.len() {
        _ if !is_moment => Form::Odd,
        0 if text.len() == 19 => Form::Moment(0),
        digits @ 1..=6 if is_fraction => Form::Moment(digits),
        _ => Form::Odd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::wire::put_lenenc_bytes;

    const ME: Owner = (1, 1);
    const ANOTHER: Owner = (2, 1);
    const LONGLONG: u8 = 8;
    const VAR_STRING: u8 = 253;

    /// An execution with one parameter, which the server says is of type `wanted`.
    fn one(wanted: u8, sent: u8, value: Option<&[u8]>) -> Execution {
        let mut payload = vec![0; EXECUTE_HEADER];
        payload.extend([u8::from(value.is_none()), 1, sent, 0]);
        payload.extend(value.unwrap_or_default());
        Execution::read(&payload, 1, ExecuteForm::Plain, (&[wanted], false)).expect("an execution")
    }

    fn text(wanted: u8, text: &str) -> Execution {
        let mut value = Vec::new();
        put_lenenc_bytes(&mut value, text.as_bytes());
        one(wanted, VAR_STRING, Some(&value))
    }

    fn number() -> Execution {
        one(VAR_STRING, LONGLONG, Some(&[5, 0, 0, 0, 0, 0, 0, 0]))
    }

    fn after(executions: &[Execution], owner: Owner) -> Kinds {
        let of = |one: &Execution| one.clone().of(owner, "".into());
        executions.iter().fold(Kinds::default(), |kinds, one| kinds.with(&of(one)))
    }

    #[test]
    fn a_copy_serves_whoever_would_have_made_it_the_same() {
        let fresh = Kinds::default();
        let word = text(VAR_STRING, "abc");
        let null = one(VAR_STRING, 6, None);
        let of_number = after(&[number()], ME);
        let of_word = after(std::slice::from_ref(&word), ME);
        // Copy, what the statement has had itself, its execution.
        let serves = [
            (&fresh, &fresh, &word),
            (&fresh, &of_number, &word),
            (&of_number, &fresh, &number()),
            (&of_word, &fresh, &text(VAR_STRING, "other")),
            // As on the server itself.
            (&of_number, &of_number, &word),
            (&of_number, &of_number, &null),
        ];
        for (copy, own, execution) in serves {
            assert!(
                copy.serve(own, &execution.clone().of(ANOTHER, "".into())),
                "{copy:?} {own:?} {execution:?}"
            );
        }
        let fails = [
            (&of_number, &fresh, &word),
            (&of_word, &fresh, &number()),
            (&of_number, &of_word, &word),
            // A NULL has the type of before.
            (&of_number, &fresh, &null),
        ];
        for (copy, own, execution) in fails {
            assert!(
                !copy.serve(own, &execution.clone().of(ANOTHER, "".into())),
                "{copy:?} {own:?} {execution:?}"
            );
        }
    }

    #[test]
    fn a_copy_with_mixed_kinds_is_one_statements_own() {
        let word = text(VAR_STRING, "abc");
        let mine = after(&[number(), word.clone()], ME);
        assert!(mine.serve(&mine, &word));
        // Its own of before, on another connection.
        assert!(after(&[number()], ME).serve(&mine, &word.clone().of(ME, "".into())));
        assert!(!mine.serve(&Kinds::default(), &word));
        assert!(!mine.serve(&after(&[number(), word.clone()], ANOTHER), &word));
        // A text that is no number, where one is wanted, is like no other.
        let odd = after(&[text(LONGLONG, "5x")], ME);
        assert!(odd.serve(&odd, &text(LONGLONG, "5x")));
        assert!(!odd.serve(&Kinds::default(), &text(LONGLONG, "5x")));
    }

    #[test]
    fn the_first_values_are_of_their_circumstances() {
        let [here, there] = [(ME, "ANSI_QUOTES"), (ANOTHER, "")]
            .map(|(owner, mode)| number().of(owner, mode.into()));
        let copy = Kinds::default().with(&here);
        assert!(copy.serve(&Kinds::default(), &here) && copy.serve(&copy, &there));
        assert!(!copy.serve(&Kinds::default(), &there));
        assert_eq!(copy.with(&there), copy);
    }

    #[test]
    fn texts_have_a_form_only_where_no_text_is_wanted() {
        assert_eq!(text(VAR_STRING, "5"), text(VAR_STRING, "1.5"));
        for (one, other) in
            [("5", "12"), ("-1", "-30"), ("1.5", "22.75"), ("2026-01-02", "1999-12-28")]
        {
            assert_eq!(text(LONGLONG, one), text(LONGLONG, other));
        }
        let forms =
            ["5", "-5", "1.5", "2026-01-02", "2026-01-02 10:00:00", "2026-01-02 10:00:00.5"];
        for (index, one) in forms.iter().enumerate() {
            for other in &forms[index + 1..] {
                assert_ne!(text(LONGLONG, one), text(LONGLONG, other));
            }
        }
        for odd in [
            "",
            "-",
            "5 ",
            " 5",
            "1e3",
            "1.",
            ".5",
            "1234567890123456789",
            "2026-02-30",
            "2026-01-02 10:00",
            "2026-01-02 25:00:00",
            "2026-01-02 10:00:00.",
            "2026-01-02T10:00:00",
            "0000-00-00",
            "abc",
            "2026-01-02 10:00:00.1234567",
        ] {
            assert_eq!(form_of(odd.as_bytes()), Form::Odd, "{odd}");
        }
    }

    #[test]
    fn values_are_found_behind_others_and_behind_names() {
        // A number, NULL and a text, with a query attribute behind them.
        let mut payload = vec![0; EXECUTE_HEADER];
        payload[5] = 8;
        payload.extend([4, 0b10, 1, 8, 0, 0, 6, 0, 1, b'n', 253, 0, 0, 3, 0, 1, b'a']);
        payload.extend([7, 0, 0, 0, 0, 0, 0, 0, 1, b'5', 9, 0, 0, 0]);
        let types = (&[8, 8, 8][..], false);
        let read = Execution::read(&payload, 3, ExecuteForm::Attributes, types).expect("whole");
        let kind = |sent, form| Some(Kind { sent, form });
        assert_eq!(read.kinds, [kind(8, Form::Plain), None, kind(253, Form::Integer)]);
        assert!(Execution::read(&payload[..30], 3, ExecuteForm::Attributes, types).is_err());
    }
}
