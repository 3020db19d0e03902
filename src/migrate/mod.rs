//! From the files of others to a ringway.yaml. Pure: texts in, text out.
//!
//! ```text
//! texts → documents (YAML or nginx) → draft (services, routes, remarks) → text with comments
//! ```
//!
//! What has no counterpart is never dropped in silence: it is a [`Remark`], stands as a comment where it would belong,
//! and is listed for the person who asked.

mod argo;
mod documents;
mod draft;
mod gateway;
mod ingress;
mod nginx;
mod nginx_text;
mod yaml;

use crate::config::Source;
use draft::Draft;

/// Whose files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ingress objects of Kubernetes with the canary annotations of the nginx ingress controller.
    IngressNginx,
    /// HTTPRoute objects of the Kubernetes Gateway API.
    GatewayApi,
    /// Rollout objects of Argo Rollouts with the canary strategy.
    ArgoRollouts,
    /// nginx configuration with `split_clients`.
    Nginx,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The file.
    pub text: String,
    /// What is not as it was, in the order in which it was met.
    pub remarks: Vec<Remark>,
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// True when something is missing, false when it is there and works in another way.
    pub is_left_out: bool,
    /// Where it stood, such as `Ingress shop-canary`.
    pub origin: String,
    /// What it is, and what to do about it.
    pub text: String,
}

impl Migrated {
    /// What is missing.
    pub fn left_out(&self) -> impl Iterator<Item = &Remark> {
        self.remarks.iter().filter(|remark| remark.is_left_out)
    }
}

/// Writes a file that does what these files do.
///
/// # Errors
/// A text cannot be read, or there is nothing of this kind in them.
pub fn migrate(kind: Kind, sources: &[Source]) -> Result<Migrated, String> {
    let mut draft = Draft::default();
    match kind {
        Kind::IngressNginx => ingress::read(&documents::of(sources)?, &mut draft),
        Kind::GatewayApi => gateway::read(&documents::of(sources)?, &mut draft),
        Kind::ArgoRollouts => argo::read(&documents::of(sources)?, &mut draft),
        Kind::Nginx => nginx::read(&nginx_text::of(sources)?, &mut draft),
    }
    if draft.is_empty() {
        return Err(format!("there is {} in what was read", kind.nothing()));
    }
    Ok(draft.finish())
}

impl Kind {
    /// What the files lack when nothing came of them.
    fn nothing(self) -> &'static str {
        match self {
            Kind::IngressNginx => "no Ingress with a rule that leads to a service",
            Kind::GatewayApi => "no HTTPRoute with a rule that leads somewhere",
            Kind::ArgoRollouts => "no Rollout with `strategy.canary`",
            Kind::Nginx => "no `split_clients`",
        }
    }
}

#[cfg(test)]
mod tests;
