//! Every rule that a configuration is held to, with its stable code.
//!
//! RW00xx file and syntax, RW01xx services and weights, RW02xx cohorts and conditions, RW03xx routes,
//! RW04xx listeners and doors, RW05xx windows, RW06xx referenced files, RW07xx tests, RW08xx rollouts, RW09xx traces.
//! A code is never given to another rule.

use std::fmt;
use std::str::FromStr;

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but most likely does not do what was meant.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// The word in every output format.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

macro_rules! codes {
    ($($severity:ident $number:literal $name:ident: $meaning:literal,)*) => {
        /// A rule of the configuration.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $meaning] $name = $number,)*
        }

        impl Code {
            /// Every code, ascending.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// Error, warning or note.
            pub fn severity(self) -> Severity {
                match self {
                    $(Code::$name => Severity::$severity,)*
                }
            }

            /// The rule's title.
            pub fn title(self) -> &'static str {
                match self {
                    $(Code::$name => $meaning,)*
                }
            }
        }
    };
}

codes! {
    Error 1 FileUnreadable: "the file cannot be read",
    Error 2 FileTooLarge: "the file is too large",
    Error 3 NotUtf8: "the file is not UTF-8",
    Error 4 Syntax: "the file is not YAML",
    Error 5 Tab: "a tab indents a line",
    Error 6 DuplicateKey: "a key stands twice in a map",
    Error 7 SeveralDocuments: "the file holds several YAML documents",
    Error 8 MergeKey: "a merge key is used",
    Error 9 YamlTag: "a YAML tag is used",
    Error 10 TooDeep: "the file is nested too deeply",
    Error 11 TooManyValues: "the file holds too many values",
    Error 12 BadAlias: "an alias names nothing that stands before it",
    Error 13 EmptyFile: "the file has no content",
    Error 14 UnknownKey: "a key does not exist",
    Error 15 UnknownValue: "a value is not one of the choices",
    Error 16 MissingKey: "a key is missing",
    Error 17 WrongType: "a value has the wrong type",
    Error 18 InvalidValue: "a value cannot be read",
    Error 19 NotSupported: "this version cannot do this",
    Error 20 NoValue: "a key has no value",
    Error 21 Unquoted: "a text looks like a boolean",
    Error 22 NotBoolean: "a value is not a boolean",
    Error 23 NotOneKey: "exactly one key is allowed",
    Error 24 DefinedTwice: "two files define the same thing",
    Error 25 NoFiles: "the directory holds no configuration",
    Error 26 ControlCharacter: "the file holds a control character",
    Warning 27 WritableByOthers: "the file can be changed by everybody",
    Note 28 TooManyProblems: "there are more problems than are shown",

    Error 101 NoServices: "there is no service",
    Error 102 BadName: "a name has characters that it cannot have",
    Error 103 ReservedName: "a name is reserved",
    Error 104 NoVariants: "a service has no variants",
    Error 105 NoEndpoints: "a variant has no endpoints",
    Error 106 BadEndpoint: "an endpoint is not host:port",
    Warning 107 RepeatedEndpoint: "an endpoint stands twice in a variant",
    Error 108 UnknownVariant: "a variant does not exist",
    Error 109 MissingWeight: "a variant has no weight",
    Error 110 WeightsSumToZero: "the weights sum to 0",
    Warning 111 SameEndpoints: "two variants lead to the same endpoints",
    Error 112 BadHeaderName: "a header name is not valid",
    Error 113 ForbiddenHeader: "a header is not yours to set",
    Error 114 BadHeaderValue: "a header value is not valid",
    Error 115 SaltTwice: "a service has two salts",
    Error 116 EmptyText: "a text is empty",
    Warning 117 PerRequestKey: "the user key changes with each request",
    Warning 118 KeySourceUnreached: "a source of the user key is never reached",
    Warning 119 RepeatedKeySource: "a source of the user key stands twice",
    Error 120 EmptyHashOn: "hashOn is empty",
    Error 121 OverrideUnproven: "an override could never be believed",
    Warning 122 OverrideFromAnyone: "an override is believed from anyone",
    Error 123 BadCookieName: "a cookie name is not valid",
    Warning 124 SimilarNames: "two names differ only in case",
    Error 150 NotOneCheck: "a health check asks in no way, or in several",
    Error 151 CheckKeyUnused: "a key does not belong to this kind of health check",
    Warning 152 SlowCheck: "a health check may take longer than its interval",
    Warning 153 NeverEjected: "no endpoint can ever be ejected",
    Error 154 NothingToEjectFor: "outlier detection looks at nothing",

    Warning 170 MirrorOfNothing: "a mirror copies nothing",
    Warning 171 MirrorRepeatsChanges: "a mirror repeats requests that change things",
    Error 172 BadJsonPath: "a path into JSON is not valid",
    Error 173 MirrorOfUnknownCohort: "a mirror names a cohort that does not exist",
    Warning 174 MirrorSettingUnused: "a setting of a mirror is not used",
    Error 180 ProtocolNeedsTls: "a protocol needs TLS, and there is none",
    Error 181 ProtocolIsPlain: "a protocol is plain, and there is TLS",
    Error 182 ClientKeyAlone: "a certificate and its key are not both there",
    Error 183 ProxyProtocolShared: "connections that tell one client's address would be shared",
    Error 184 BadServerName: "a server name is not valid",
    Error 190 FaultWithoutEffect: "a fault has no effect",
    Warning 191 FaultForEver: "a fault has no end",
    Error 192 BadDelay: "a delay is not one",
    Error 193 BadTime: "a time cannot be read",
    Error 194 BadFaultStatus: "a status is not one of failures",
    Error 195 UnknownCohort: "a cohort does not exist",

    Error 201 DuplicateCohort: "two cohorts have the same name",
    Error 202 EveryoneNotLast: "the cohort everyone is not the last one",
    Error 203 EveryoneWithWhen: "the cohort everyone has a condition",
    Error 204 CohortWithoutWhen: "a cohort has no condition",
    Warning 205 UnreachableCohort: "a cohort is never reached",
    Error 206 NoMatcher: "a value is looked at in no way",
    Error 207 SeveralMatchers: "a value is looked at in several ways",
    Error 208 BadRegex: "a regular expression is not valid",
    Error 209 RegexTooLarge: "a regular expression is too large",
    Error 210 ReversedRange: "a range ends before it begins",
    Error 211 BadMethod: "a method is not valid",
    Error 212 BadHost: "a host is not valid",
    Error 213 GeoWithoutSource: "geo is used without a source",
    Error 214 BadCountry: "a country code does not exist",
    Error 215 BadContinent: "a continent code does not exist",
    Error 216 BadSubdivision: "a subdivision code is not valid",
    Error 217 EmptyList: "a list is empty",
    Error 218 ClaimWithoutKeys: "a claim is used, and nothing verifies it",
    Warning 219 TrivialPercent: "a percentage takes nobody or everybody",
    Error 220 PathWithoutSlash: "a path does not begin with a slash",
    Warning 221 StrippedHeader: "a header never arrives",
    Warning 222 GeoNotTold: "the geo source does not tell this",
    Warning 223 HostBits: "a network has bits beyond its prefix",

    Error 301 UnknownService: "a service does not exist",
    Error 302 RoutesMissing: "several services need routes",
    Warning 303 RouteUnreached: "a route is never reached",
    Error 304 DuplicateRoute: "two routes have the same name",
    Warning 305 ServiceUnreached: "no route leads to a service",
    Error 306 ZeroTimeout: "a timeout is 0",
    Warning 350 TryAsLongAsRequest: "one attempt may take as long as the whole request",
    Error 351 ReversedBackoff: "a backoff begins above its end",
    Warning 352 NoVariantToRetryOn: "a retry cannot go to another variant",
    Error 355 RouteWithoutService: "a route leads nowhere",
    Warning 356 RedirectedAnyway: "a redirect leaves nothing to do this for",
    Error 357 EmptyRedirect: "a redirect or rewrite changes nothing",
    Error 358 BadRedirectStatus: "a status is not one of redirects",
    Error 359 BadRedirectPort: "a port does not exist",
    Error 360 BadReplacement: "a replacement is not a path",
    Error 361 PrefixNotMatched: "there is no prefix to replace",
    Error 363 HeaderEditedTwice: "a header is edited twice",
    Error 365 UnknownVariable: "a variable does not exist",
    Error 366 VariableWithoutValue: "a variable has no value here",
    Error 367 VaryStar: "a proxy may not say Vary: *",
    Error 368 EmptyEdits: "header edits change nothing",
    Error 370 BadRate: "a rate limit is out of range",

    Error 401 NoListeners: "there is no listener",
    Error 402 DuplicateListener: "two listeners have the same name",
    Error 403 AddressClash: "two doors have the same address",
    Error 404 AdminBeyondLoopback: "the admin door is open to others",
    Error 405 BadAdminAddress: "the admin address is not valid",
    Error 406 LimitOutOfRange: "a limit is out of range",
    Warning 407 TrustsEveryone: "every client is a trusted proxy",
    Warning 408 GeoHeaderUntrusted: "the geo header is believed from nobody",
    Error 409 BadAdminHost: "a name or origin of the admin door is not valid",
    Error 410 BadSso: "a proxy that signs people in cannot be believed",
    Error 450 NoCertificates: "a listener with TLS has no certificate",
    Error 451 ClientAuthWithoutCa: "clients are to prove themselves, and nobody vouches for them",
    Warning 452 ProxyProtocolFromAnyone: "every client may claim an address",
    Warning 453 RepeatedCertificate: "a certificate stands twice in a listener",
    Error 470 UserKeyOfListener: "a listener does not know user keys",
    Error 490 AnyPortTwice: "two listeners take any port of the same address",

    Error 501 UnknownTimeZone: "a time zone does not exist",
    Error 502 BadWindow: "a window of time cannot be read",

    Error 601 ReferencedFile: "a referenced file cannot be used",

    Error 701 TestFailed: "a test fails",
    Error 702 BadTestUrl: "the URL of a test is not absolute",
    Error 703 UnknownExpectation: "a test expects a name that does not exist",
    Error 704 EmptyExpectation: "a test expects nothing",

    Error 801 NoSuchCohort: "a cohort does not exist",
    Error 802 UnknownWindow: "a window does not exist",
    Error 803 UnknownNotifier: "a notifier does not exist",
    Error 804 SameVariant: "a variant would replace itself",
    Error 805 NoSteps: "a rollout has no steps",
    Error 806 UnclearStep: "a step is not clear",
    Error 807 RampNotRising: "a ramp does not rise",
    Error 808 NobodyApproves: "nobody could approve a step",
    Warning 809 ShareNotRising: "the share of a cohort does not rise",
    Warning 810 NoControl: "a step has nobody to compare with",
    Warning 811 HoldWithinWarmup: "a hold is not longer than its warmup",
    Warning 812 DuplicateRolloutId: "two rollouts have the same id",
    Warning 813 OverAtOnce: "a step is over at once",
    Error 814 NeedsNothing: "a step would be passed in silence",
    Error 815 WayBackNotFalling: "the way back does not fall to 0",
    Error 816 RolloutOutOfRange: "a value of a rollout is out of range",
    Warning 817 GateOff: "a gate is off",
    Warning 818 MaxHoldTooShort: "maxHold or maxDuration is not longer than what is held",
    Error 819 NotOneKind: "a notifier has not exactly one kind",
    Error 820 NameTaken: "a name is taken",
    Warning 821 FallsFirst: "a share falls before it rises",
    Error 822 BadRolloutUrl: "a URL is not absolute",
    Warning 823 NoStateDir: "a rollout has no stateDir",
    Warning 840 Leftover: "something is left over of a release",
    Warning 860 GateNotAllowed: "a gate may not be asked",

    Error 950 BadTraceEndpoint: "a receiver of traces is not one of OTLP over HTTP",
    Warning 951 TraceEndpointNotAllowed: "a receiver of traces may not be asked",
    Warning 952 NothingTraced: "no request is ever traced",
    Warning 953 TraceHeaderInClear: "a secret of a receiver of traces stands in the file",
    Error 954 TraceSettingTwice: "a setting of traces has two places",

    Error 960 AdminTlsUnused: "the certificate of the admin door is not used",
}

const EXPLANATIONS: &str = include_str!("codes.md");

impl Code {
    /// The number after `RW`.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// What the rule is for, with a wrong and a right example, in Markdown.
    pub fn explanation(self) -> &'static str {
        let heading = format!("## {self}:");
        let Some(start) = EXPLANATIONS.find(&heading) else { return "" };
        let section = &EXPLANATIONS[start..];
        let body = section.find('\n').map_or("", |newline| &section[newline + 1..]);
        body.find("\n## RW").map_or(body, |end| &body[..end]).trim()
    }

    /// True for rules about how parts of the file fit together: after a part was refused they would only
    /// report its absence.
    pub(crate) fn is_about_several_parts(self) -> bool {
        matches!(
            self,
            Code::NoServices
                | Code::NoVariants
                | Code::NoEndpoints
                | Code::UnknownVariant
                | Code::MissingWeight
                | Code::WeightsSumToZero
                | Code::EmptyHashOn
                | Code::OverrideUnproven
                | Code::CohortWithoutWhen
                | Code::UnreachableCohort
                | Code::NoMatcher
                | Code::GeoWithoutSource
                | Code::EmptyList
                | Code::ClaimWithoutKeys
                | Code::UnknownService
                | Code::RoutesMissing
                | Code::RouteUnreached
                | Code::ServiceUnreached
                | Code::NoListeners
                | Code::GeoHeaderUntrusted
                | Code::UnknownExpectation
                | Code::EmptyExpectation
                | Code::KeySourceUnreached
                | Code::SameEndpoints
                | Code::NoSuchCohort
                | Code::UnknownWindow
                | Code::UnknownNotifier
                | Code::SameVariant
                | Code::NoSteps
                | Code::UnclearStep
                | Code::RampNotRising
                | Code::NobodyApproves
                | Code::HoldWithinWarmup
                | Code::OverAtOnce
                | Code::WayBackNotFalling
                | Code::NotOneKind
                | Code::NoControl
                | Code::NoStateDir
                | Code::GateNotAllowed
                | Code::TraceEndpointNotAllowed
                | Code::NothingTraced
                | Code::NotOneCheck
                | Code::NothingToEjectFor
                | Code::MirrorOfNothing
                | Code::MirrorOfUnknownCohort
                | Code::RouteWithoutService
                | Code::EmptyRedirect
                | Code::EmptyEdits
                | Code::FaultWithoutEffect
                | Code::UnknownCohort
                | Code::BadDelay
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RW{:04}", self.number())
    }
}

impl FromStr for Code {
    type Err = String;

    /// Reads `RW0110`, also in lower case.
    fn from_str(text: &str) -> Result<Code, String> {
        let wanted = text.to_uppercase();
        let found = Code::ALL.iter().find(|code| code.to_string() == wanted);
        found.copied().ok_or_else(|| format!("there is no code `{text}`; codes look like RW0110"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_with_a_wrong_and_a_right_example() {
        for code in Code::ALL {
            let text = code.explanation();
            assert!(EXPLANATIONS.contains(&format!("## {code}: {}\n", code.title())), "{code}: {}", code.title());
            for part in ["Wrong:", "Right:"] {
                assert!(text.contains(part), "{code} has no `{part}`");
            }
            assert_eq!(text.matches("```").count() % 2, 0, "{code}");
        }
        assert_eq!(EXPLANATIONS.matches("\n## RW").count(), Code::ALL.len());
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        assert_eq!("rw0110".parse(), Ok(Code::WeightsSumToZero));
        assert!("RW9999".parse::<Code>().is_err());
        assert!(Code::ALL.is_sorted());
    }
}
