//! Header values with variables in them, such as `${variant}-${bucket}`.

use super::suggest::{closest, listed};

/// What a variable stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `${service}`: the service's name.
    Service,
    /// `${cohort}`: the cohort's name.
    Cohort,
    /// `${variant}`: the name of the variant that serves the request.
    Variant,
    /// `${bucket}`: the user's bucket, 0 to 999999.
    Bucket,
    /// `${geo.country}`: the client's country, such as `NO`; empty where it is not known.
    GeoCountry,
    /// `${clientIP}`: the client's address.
    ClientIp,
    /// `${requestId}`: the request's id, as in the access log.
    RequestId,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stands for itself.
    Text(String),
    /// A variable.
    Variable(Variable),
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no such variable.
    #[error("there is no variable `${{{0}}}`")]
    Unknown(String),
    /// `${` without `}`.
    #[error("`${{` without `}}` behind it")]
    Unclosed,
}

impl Variable {
    /// Every variable.
    pub const ALL: [Variable; 7] = [
        Variable::Service,
        Variable::Cohort,
        Variable::Variant,
        Variable::Bucket,
        Variable::GeoCountry,
        Variable::ClientIp,
        Variable::RequestId,
    ];

    /// The name between the braces.
    pub fn as_str(self) -> &'static str {
        match self {
            Variable::Service => "service",
            Variable::Cohort => "cohort",
            Variable::Variant => "variant",
            Variable::Bucket => "bucket",
            Variable::GeoCountry => "geo.country",
            Variable::ClientIp => "clientIP",
            Variable::RequestId => "requestId",
        }
    }

    /// True for what is known only once a request has its variant.
    pub fn needs_assignment(self) -> bool {
        match self {
            Variable::Service | Variable::Cohort | Variable::Variant | Variable::Bucket => true,
            Variable::GeoCountry | Variable::ClientIp | Variable::RequestId => false,
        }
    }
}

impl TemplateError {
    /// What to type instead.
    pub fn help(&self) -> String {
        let names = || Variable::ALL.iter().map(|variable| variable.as_str());
        match self {
            TemplateError::Unknown(name) => match closest(name, names()) {
                Some(meant) => format!("did you mean `${{{meant}}}`?"),
                None => format!("the variables are {}; write `$${{` for the text itself", listed(names())),
            },
            TemplateError::Unclosed => "close it, or write `$${` for the text itself".to_owned(),
        }
    }
}

/// Reads a template. `$${` stands for the text `${`; any other `$` stands for itself.
///
/// # Errors
/// A variable that does not exist, or one that is not closed.
pub fn parse(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            literal.push_str(before);
            literal.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        literal.push_str(&rest[..at]);
        let (name, after) = rest[at + 2..].split_once('}').ok_or(TemplateError::Unclosed)?;
        let known = Variable::ALL.into_iter().find(|variable| variable.as_str() == name);
        let variable = known.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Variable(variable));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_misspelt_ones_named() {
        let text = |text: &str| Piece::Text(text.to_owned());
        for (given, pieces) in [
            ("", Ok(vec![])),
            ("plain $5 {x}", Ok(vec![text("plain $5 {x}")])),
            ("${cohort}", Ok(vec![Piece::Variable(Variable::Cohort)])),
            (
                "a-${variant}/${bucket}",
                Ok(vec![text("a-"), Piece::Variable(Variable::Variant), text("/"), Piece::Variable(Variable::Bucket)]),
            ),
            ("$${cohort}", Ok(vec![text("${cohort}")])),
            ("${cohrt}", Err(TemplateError::Unknown("cohrt".to_owned()))),
            ("${", Err(TemplateError::Unclosed)),
        ] {
            assert_eq!(parse(given), pieces, "{given}");
        }
        assert_eq!(parse("${cohrt}").unwrap_err().help(), "did you mean `${cohort}`?");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_template_or_none(text in ".{0,40}|([${}a]){0,12}") {
            let _ = parse(&text);
        }
    }
}
