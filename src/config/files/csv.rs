//! The lines of a geo table: named columns, fields that may be quoted as in RFC 4180 (within one line).

use std::borrow::Cow;
use std::ops::Index;

/// What a table without a header line is told.
pub(super) const NO_HEADER: &str = "has no header line; the first line names the columns: cidr,country";

/// A column of a geo table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Cidr,
    Country,
    Continent,
    Subdivision,
    City,
    Asn,
}

const COLUMNS: [(&str, Column); COLUMN_COUNT] = [
    ("cidr", Column::Cidr),
    ("country", Column::Country),
    ("continent", Column::Continent),
    ("subdivision", Column::Subdivision),
    ("city", Column::City),
    ("asn", Column::Asn),
];

const COLUMN_COUNT: usize = 6;

/// The columns in the order of the header line.
#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

/// The fields of a line by column; a column that the table does not have is empty.
#[derive(Debug, Default)]
pub(super) struct Fields<'l>([Cow<'l, str>; COLUMN_COUNT]);

impl Columns {
    /// Reads the header line.
    pub(super) fn parse(header: &str) -> Result<Columns, String> {
        let mut columns = Vec::new();
        for name in split(header)? {
            let (_, column) = COLUMNS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).ok_or_else(|| {
                format!("has the unknown column `{name}`; columns are cidr, country, continent, subdivision, city, asn")
            })?;
            if columns.contains(column) {
                return Err(format!("has the column `{name}` twice"));
            }
            columns.push(*column);
        }
        for (name, needed) in &COLUMNS[..2] {
            if !columns.contains(needed) {
                return Err(format!("has no column `{name}`; the first line names the columns: cidr,country"));
            }
        }
        Ok(Columns(columns))
    }

    /// Splits a line into its fields, space around them cut.
    pub(super) fn split<'l>(&self, line: &'l str) -> Result<Fields<'l>, String> {
        let values = split(line)?;
        if values.len() != self.0.len() {
            let plural = if values.len() == 1 { "" } else { "s" };
            return Err(format!("has {} field{plural}, but the header line has {}", values.len(), self.0.len()));
        }
        let mut fields = Fields::default();
        for (column, value) in self.0.iter().zip(values) {
            fields.0[*column as usize] = value;
        }
        Ok(fields)
    }
}

impl Index<Column> for Fields<'_> {
    type Output = str;

    fn index(&self, column: Column) -> &str {
        &self.0[column as usize]
    }
}

/// More fields than this in one line are not looked at.
const FIELDS_MAX: usize = 64;

fn split(line: &str) -> Result<Vec<Cow<'_, str>>, String> {
    if !line.contains('"') {
        return Ok(line.split(',').take(FIELDS_MAX).map(|field| field.trim().into()).collect());
    }
    let mut fields = Vec::new();
    let mut rest = Some(line);
    while let Some(line) = rest
        && fields.len() < FIELDS_MAX
    {
        let (field, after) = match line.trim_start().strip_prefix('"') {
            Some(quoted) => split_quoted(quoted)?,
            None => match line.split_once(',') {
                Some((field, after)) => (field.trim().into(), Some(after)),
                None => (line.trim().into(), None),
            },
        };
        fields.push(field);
        rest = after;
    }
    Ok(fields)
}

/// A field from behind its opening quote, and what follows its comma, if there is one.
fn split_quoted(text: &str) -> Result<(Cow<'_, str>, Option<&str>), String> {
    let mut from = 0;
    let close = loop {
        let quote = from + text[from..].find('"').ok_or("has a quote that is not closed on its line")?;
        if !text[quote + 1..].starts_with('"') {
            break quote;
        }
        from = quote + 2;
    };
    let after = text[close + 1..].trim_start();
    let rest = match after.strip_prefix(',') {
        Some(rest) => Some(rest),
        None if after.is_empty() => None,
        None => return Err("has text after a closing quote".to_owned()),
    };
    let field = text[..close].trim();
    Ok((if field.contains('"') { field.replace("\"\"", "\"").into() } else { field.into() }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_split_as_in_rfc_4180() {
        for (line, fields) in [
            ("a,b", vec!["a", "b"]),
            (" a , b ", vec!["a", "b"]),
            ("a,,", vec!["a", "", ""]),
            ("\"a,b\",c", vec!["a,b", "c"]),
            ("c,\"a,b\"", vec!["c", "a,b"]),
            ("\"say \"\"hi\"\"\",x", vec!["say \"hi\"", "x"]),
            ("\"\",\"\"", vec!["", ""]),
            (" \"a\" , b", vec!["a", "b"]),
        ] {
            assert_eq!(split(line).unwrap(), fields, "{line}");
        }
        assert!(split("\"a").is_err());
        assert!(split("\"a\"b").is_err());
    }

    proptest! {
        #[test]
        fn quoted_fields_come_back(fields in proptest::collection::vec("[a-z,\"ø]{0,8}", 1..8)) {
            let line: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let line = line.join(",");
            prop_assert_eq!(split(&line).unwrap(), fields);
        }
    }
}
