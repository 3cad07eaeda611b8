//! The grammar of `?labelSelector=`, with upstream's errors to the byte.

use std::collections::BTreeSet;

use super::label::{Operator, Requirement};
use crate::validation::format;

/// Why a text is no selector, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub(super) String);

/// Requirements of a selector, in the order they were written.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, ParseError> {
    let mut parser = Parser { items: scan(text), position: 0 };
    let mut requirements = Vec::new();
    loop {
        match parser.peek_value() {
            (Token::Identifier | Token::Not, _) => {}
            (Token::End, _) => return Ok(requirements),
            (_, found) => return Err(expected(found, "!, identifier, or 'end of string'")),
        }
        let requirement =
            parser.requirement().map_err(|ParseError(why)| ParseError(format!("unable to parse requirement: {why}")))?;
        requirements.push(requirement);
        match parser.take_value() {
            (Token::End, _) => return Ok(requirements),
            (Token::Comma, _) => match parser.peek_value() {
                (Token::Identifier | Token::Not, _) => {}
                (_, found) => return Err(expected(found, "identifier after ','")),
            },
            (_, found) => return Err(expected(&found, "',' or 'end of string'")),
        }
    }
}

fn expected(found: &str, wanted: &str) -> ParseError {
    ParseError(format!("found '{found}', expected: {wanted}"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Identifier,
    In,
    NotIn,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    Not,
    Comma,
    Open,
    Close,
    Error,
    End,
}

fn keyword(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn scan(text: &str) -> Vec<(Token, String)> {
    let mut items = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while let Some(first) = rest.chars().next() {
        let (item, length) = if is_symbol(first) { scan_symbol(rest) } else { scan_word(rest) };
        items.push(item);
        rest = rest[length..].trim_start_matches(is_space);
    }
    items.push((Token::End, String::new()));
    items
}

/// The longest run of symbols that grows from token to token: `!=` is one, `=(` is two.
fn scan_symbol(text: &str) -> ((Token, String), usize) {
    let run = text.find(|c| !is_symbol(c)).unwrap_or(text.len());
    let mut last = None;
    for length in 1..=run {
        match keyword(&text[..length]) {
            Some(token) => last = Some((token, length)),
            None if last.is_some() => break,
            None => {}
        }
    }
    match last {
        Some((token, length)) => ((token, text[..length].to_owned()), length),
        None => ((Token::Error, format!("error expected: keyword found '{}'", &text[..run])), run),
    }
}

fn scan_word(text: &str) -> ((Token, String), usize) {
    let length = text.find(|c| is_symbol(c) || is_space(c)).unwrap_or(text.len());
    let word = &text[..length];
    ((keyword(word).unwrap_or(Token::Identifier), word.to_owned()), length)
}

/// A cursor over tokens; the last one is [`Token::End`] and is never passed.
struct Parser {
    items: Vec<(Token, String)>,
    position: usize,
}

impl Parser {
    /// The next token where a key or value may stand: `in` and `notin` are identifiers there.
    fn peek_value(&self) -> (Token, &str) {
        let (token, literal) = &self.items[self.position];
        let token = if matches!(token, Token::In | Token::NotIn) { Token::Identifier } else { *token };
        (token, literal)
    }

    fn take_value(&mut self) -> (Token, String) {
        let (token, literal) = self.peek_value();
        let taken = (token, literal.to_owned());
        self.position = (self.position + 1).min(self.items.len() - 1);
        taken
    }

    fn requirement(&mut self) -> Result<Requirement, ParseError> {
        let negated = self.peek_value().0 == Token::Not;
        if negated {
            self.take_value();
        }
        let (token, key) = self.take_value();
        if token != Token::Identifier {
            return Err(expected(&key, "identifier"));
        }
        check_key(&key, "<nil>")?;
        if negated {
            return Ok(Requirement { key, operator: Operator::DoesNotExist, values: Vec::new() });
        }
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(Requirement { key, operator: Operator::Exists, values: Vec::new() });
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.list()?,
            _ => BTreeSet::from([self.exact_value()?]),
        };
        let values: Vec<String> = values.into_iter().collect();
        check_values(&key, operator, &values)?;
        Ok(Requirement { key, operator, values })
    }

    fn operator(&mut self) -> Result<Operator, ParseError> {
        let token = self.items[self.position].0;
        let (_, literal) = self.take_value();
        match token {
            Token::In => Ok(Operator::In),
            Token::NotIn => Ok(Operator::NotIn),
            Token::Equals => Ok(Operator::Equals),
            Token::DoubleEquals => Ok(Operator::DoubleEquals),
            Token::NotEquals => Ok(Operator::NotEquals),
            Token::Greater => Ok(Operator::GreaterThan),
            Token::Less => Ok(Operator::LessThan),
            _ => Err(expected(&literal, "in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn exact_value(&mut self) -> Result<String, ParseError> {
        if matches!(self.peek_value().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.take_value() {
            (Token::Identifier, value) => Ok(value),
            (_, found) => Err(expected(&found, "identifier")),
        }
    }

    /// `(a,b)`; an empty place between commas or parentheses is the empty value.
    fn list(&mut self) -> Result<BTreeSet<String>, ParseError> {
        match self.take_value() {
            (Token::Open, _) => {}
            (_, found) => return Err(ParseError(format!("found '{found}' expected: '('"))),
        }
        match self.peek_value() {
            (Token::Identifier | Token::Comma, _) => {}
            (Token::Close, _) => {
                self.take_value();
                return Ok(BTreeSet::from([String::new()]));
            }
            (_, found) => return Err(expected(found, "',', ')' or identifier")),
        }
        let values = self.identifiers()?;
        self.take_value();
        Ok(values)
    }

    /// What stands before the closing parenthesis, which is left to the caller.
    fn identifiers(&mut self) -> Result<BTreeSet<String>, ParseError> {
        let mut values = BTreeSet::new();
        loop {
            match self.take_value() {
                (Token::Identifier, value) => {
                    values.insert(value);
                    match self.peek_value() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, found) => return Err(expected(found, "',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek_value().0 {
                        Token::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            self.take_value();
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                (_, found) => return Err(expected(&found, "',', or identifier")),
            }
        }
    }
}

fn check_key(key: &str, path: &str) -> Result<(), ParseError> {
    let mistakes = format::qualified_name(key);
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(ParseError(format!("{path}: Invalid value: {key:?}: {}", mistakes.join("; "))))
}

fn check_values(key: &str, operator: Operator, values: &[String]) -> Result<(), ParseError> {
    let mut errors = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.parse::<i64>().is_err() {
            errors.push(format!(
                "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
            ));
        }
        let mistakes = format::label_value(value);
        if !mistakes.is_empty() {
            errors.push(format!("values[{index}][{key}]: Invalid value: {value:?}: {}", mistakes.join("; ")));
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(ParseError(one.clone())),
        many => Err(ParseError(format!("[{}]", many.join(", ")))),
    }
}
