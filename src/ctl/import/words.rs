//! Words as Python's `shlex` splits them: commands (`shlex.split`) and the variables of `environment=`.
#![forbid(unsafe_code)]

use super::expand::{CLOSE, OPEN};

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// The words of a command. Unlike in a shell, and in our own configuration, `#` begins no comment.
///
/// # Errors
/// A quote that is not closed, or a backslash at the end.
pub fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if BLANK.contains(&c) => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().ok_or("it has a quote that is not closed")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => word.get_or_insert_default().push(chars.next().ok_or("it ends with a backslash")?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<(), &'static str> {
    const OPENED: &str = "it has a quote that is not closed";
    loop {
        match chars.next().ok_or(OPENED)? {
            '"' => return Ok(()),
            // Only a quote and a backslash are escaped here; before anything else it is itself.
            '\\' => match chars.next().ok_or(OPENED)? {
                c @ ('"' | '\\') => word.push(c),
                c => word.extend(['\\', c]),
            },
            c => word.push(c),
        }
    }
}

/// The words as one text that our configuration splits into the same ones: the text that was there, if it does.
pub fn command(original: &str, words: &[String]) -> Option<String> {
    let joined = shell_words::join(words);
    [original.to_owned(), joined].into_iter().find(|text| shell_words::split(text).is_ok_and(|split| split == words))
}

/// `KEY="value",KEY2=value2` as supervisord reads it.
///
/// # Errors
/// Says what is wrong without quoting it: it may be a secret.
pub fn variables(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let tokens = tokens(text)?;
    let mut variables: Vec<(String, String)> = Vec::new();
    // Whatever stands where a comma should is passed over, as there.
    for three in tokens.chunks(4) {
        let [name, equals, value, ..] = three else { return Err("it does not end after KEY=value") };
        if equals != "=" {
            return Err("it is not a list of KEY=\"value\", separated by commas");
        }
        let value = value.trim_matches(['\'', '"']).to_owned();
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value,
            None => variables.push((name.clone(), value)),
        }
    }
    Ok(variables)
}

/// `list(shlex.shlex(text))` with supervisord's word characters: quotes stay, all other characters are
/// tokens of their own.
fn tokens(text: &str) -> Result<Vec<String>, &'static str> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || "_/.+-():".contains(c) || matches!(c, OPEN | CLOSE);
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if BLANK.contains(&c) => {}
            '#' => while chars.next().is_some_and(|c| c != '\n') {},
            quote @ ('"' | '\'') => {
                let mut token = String::from(quote);
                loop {
                    let c = chars.next().ok_or("it has a quote that is not closed")?;
                    token.push(c);
                    if c == quote {
                        break;
                    }
                }
                tokens.push(token);
            }
            c if in_word(c) => {
                let mut token = String::from(c);
                let mut open = false;
                while let Some(&c) = chars.peek() {
                    // The name of an open place is part of the word, whatever is in it.
                    open = (open || c == OPEN) && c != CLOSE;
                    if c == '#' && !open {
                        // A comment inside a word does not end it.
                        while chars.next().is_some_and(|c| c != '\n') {}
                    } else if open || in_word(c) || matches!(c, '"' | '\'') {
                        token.push(c);
                        chars.next();
                    } else {
                        break;
                    }
                }
                tokens.push(token);
            }
            c => tokens.push(c.to_string()),
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_as_python_splits_them() {
        let words = |text: &str| split(text).expect(text).join("|");
        assert_eq!(words("a  'b c' \"d \\\" e\" f\\ g ''"), "a|b c|d \" e|f g|");
        assert_eq!(words("sh -c 'x' # no comment"), "sh|-c|x|#|no|comment");
        assert_eq!(words("\"a\\nb\" a'b'\"c\"\nd"), "a\\nb|abc|d");
        assert_eq!(words("a \\\n b"), "a|\n|b");
        assert!(split("a 'b").is_err() && split("a\\").is_err() && split("\"a\\").is_err());
        assert_eq!(split("  "), Ok(vec![]));
    }

    #[test]
    fn a_command_that_ours_would_split_otherwise_is_written_anew() {
        let round = |text: &str| command(text, &split(text).expect(text)).expect(text);
        assert_eq!(round("sh -c 'a; b' x"), "sh -c 'a; b' x");
        assert_eq!(round("a # b"), "a '#' b");
    }

    #[test]
    fn variables_are_read_as_supervisord_reads_them() {
        let all = |text: &str| {
            variables(text).map(|all| all.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join("|"))
        };
        assert_eq!(all("A=\"1,2\",B='x y',C=a/b.c:d"), Ok("A=1,2|B=x y|C=a/b.c:d".to_owned()));
        assert_eq!(all("A=\"1\",\n  B=\"2\",").as_deref(), Ok("A=1|B=2"));
        assert_eq!(all("A=1,A=2").as_deref(), Ok("A=2"));
        assert_eq!(all("").as_deref(), Ok(""));
        for text in ["A", "A=", "A=\"x", "=1", "A 1 2", "A=1 B=2"] {
            assert!(all(text).is_err(), "{text}");
        }
    }
}
