//! The configuration language of nginx, as far as words, blocks and comments go.

use crate::config::Source;

/// The deepest nesting of blocks.
const DEPTH_MAX: usize = 32;

/// A directive: its words, and what stands between its braces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
}

impl Directive {
    /// Its first word.
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

/// The directives of all texts.
pub(super) fn of(sources: &[Source]) -> Result<Vec<Directive>, String> {
    let mut all = Vec::new();
    for source in sources {
        all.extend(parse(&source.text).map_err(|(line, problem)| format!("{}:{line}: {problem}", source.name))?);
    }
    Ok(all)
}

type Problem = (usize, &'static str);

fn parse(text: &str) -> Result<Vec<Directive>, Problem> {
    // the innermost open block is the last
    let mut open: Vec<(Vec<String>, Vec<Directive>)> = vec![(Vec::new(), Vec::new())];
    let mut words = Vec::new();
    let mut reader = Reader { text: text.chars().peekable(), line: 1 };
    while let Some(token) = reader.token()? {
        match token {
            Token::Word(word) => words.push(word),
            Token::End => {
                if !words.is_empty() {
                    add(&mut open, Directive { words: std::mem::take(&mut words), block: None });
                }
            }
            Token::Open if open.len() > DEPTH_MAX => return Err((reader.line, "blocks are nested too deeply")),
            Token::Open => open.push((std::mem::take(&mut words), Vec::new())),
            Token::Close if !words.is_empty() => return Err((reader.line, "a `;` is missing before `}`")),
            Token::Close => match open.pop() {
                Some((words, block)) if !open.is_empty() => add(&mut open, Directive { words, block: Some(block) }),
                _ => return Err((reader.line, "a `}` closes nothing")),
            },
        }
    }
    match open.pop() {
        Some((_, all)) if open.is_empty() && words.is_empty() => Ok(all),
        _ => Err((reader.line, "the text ends within a directive")),
    }
}

fn add(open: &mut [(Vec<String>, Vec<Directive>)], directive: Directive) {
    if let Some((_, block)) = open.last_mut() {
        block.push(directive);
    }
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Reader<'t> {
    text: std::iter::Peekable<std::str::Chars<'t>>,
    line: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.text.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn token(&mut self) -> Result<Option<Token>, Problem> {
        loop {
            let Some(c) = self.next() else { return Ok(None) };
            return match c {
                _ if c.is_whitespace() => continue,
                '#' => {
                    while self.text.peek().is_some_and(|c| *c != '\n') {
                        self.next();
                    }
                    continue;
                }
                ';' => Ok(Some(Token::End)),
                '{' => Ok(Some(Token::Open)),
                '}' => Ok(Some(Token::Close)),
                '"' | '\'' => self.quoted(c).map(Some),
                _ => Ok(Some(self.word(c))),
            };
        }
    }

    fn quoted(&mut self, quote: char) -> Result<Token, Problem> {
        let (start, mut word) = (self.line, String::new());
        loop {
            match self.next() {
                Some('\\') => word.extend(self.next()),
                Some(c) if c == quote => return Ok(Token::Word(word)),
                Some(c) => word.push(c),
                None => return Err((start, "a quotation mark is not closed")),
            }
        }
    }

    fn word(&mut self, first: char) -> Token {
        let mut word = String::from(first);
        while let Some(c) = self.text.peek().copied() {
            // `${name}` is part of a word
            let is_variable = c == '{' && word.ends_with('$');
            let is_in_variable = word.rfind("${").is_some_and(|at| !word[at..].contains('}'));
            if !(is_variable || is_in_variable) && (c.is_whitespace() || matches!(c, ';' | '{' | '}')) || c == '\n' {
                break;
            }
            word.extend(self.next());
        }
        Token::Word(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_blocks_and_comments() {
        let read = parse("a \"b;\\\" c\" ${d}e; # f {\nhttp { g 'h'; i {} }").unwrap();
        let plain = |words: &[&str], block| Directive { words: words.iter().map(|w| w.to_string()).collect(), block };
        let inner = vec![plain(&["g", "h"], None), plain(&["i"], Some(Vec::new()))];
        assert_eq!(read, [plain(&["a", "b;\" c", "${d}e"], None), plain(&["http"], Some(inner))]);
    }

    #[test]
    fn broken_texts_are_told_with_their_line() {
        for (text, line) in [("a;\n}", 2), ("a {\n b;", 2), ("a", 1), ("\n'a", 2), ("a { b }", 1), ("a ${", 1)] {
            assert_eq!(parse(text).unwrap_err().0, line, "{text}");
        }
        assert!(parse(&"a {".repeat(100_000)).is_err());
    }
}
