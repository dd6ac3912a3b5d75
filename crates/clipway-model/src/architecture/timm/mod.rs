//! Image towers by timm name: open_clip's `TimmModel`, a trunk of timm (`visual.trunk.…`) and what open_clip puts
//! after it (`visual.head.…`).
//!
//! A new family of trunks is one file and one line in [`FAMILIES`].

mod layers;
mod vitamin;
mod tokens;
mod block;
mod token_pool;
mod token_trunk;
mod vit_variants;
mod vit;
mod relpos;
mod eva_block;
mod eva_variants;
mod eva;
mod fastvit;
mod convnext;
mod swin;
mod map_pool;
mod attention_pool;
mod head;
pub(crate) mod siglip;

use crate::config::{ModelConfig, TimmChanges, TimmConfig, TimmProjection, nearest};
use crate::graph::{GraphBuilder, GraphError, Scope, ValueId};

use super::{ArchitectureError, Declared, Tower};
use head::Head;

/// Every family of trunks; the first that has a name makes it.
const FAMILIES: &[Family] = &[
    Family { names: vit::names, declare: vit::declare },
    Family { names: relpos::names, declare: relpos::declare },
    Family { names: eva::names, declare: eva::declare },
    Family { names: fastvit::names, declare: fastvit::declare },
    Family { names: convnext::names, declare: convnext::declare },
    Family { names: swin::names, declare: swin::declare },
];

/// Trunks that are made of the same code.
struct Family {
    /// The timm names, without a tag.
    names: fn() -> Vec<&'static str>,
    /// Declares the tensors of the trunk of one of those names.
    declare: fn(&TrunkRequest<'_>, Scope<'_>) -> DeclaredTrunk,
}

/// A trunk whose parameters are declared, or why they cannot be.
type DeclaredTrunk = Result<Box<dyn Trunk>, ArchitectureError>;

/// What open_clip asks of timm.
struct TrunkRequest<'a> {
    /// The timm name, without a tag.
    name: &'a str,
    /// Height and width of the pictures, in pixels. open_clip tells timm after it has loaded the weights, if at all:
    /// tensors that depend on the size are of the one of the name.
    image_size: [usize; 2],
    /// How it pools.
    pool: PoolRequest<'a>,
    /// Outputs of the trunk's own classifier; `None` for no classifier.
    classifier: Option<usize>,
    /// Whether branches that were trained to be one convolution are one.
    folded: bool,
    /// What is not as the name says.
    changes: &'a TimmChanges,
}

/// How a trunk is asked to pool, in timm's words (`avg`, `token`, `map`, …).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PoolRequest<'a> {
    /// As it does of itself.
    Default,
    /// In this way from its construction, which may decide on its layers.
    AtConstruction(&'a str),
    /// In this way, set after its construction.
    Afterwards(&'a str),
}

impl<'a> PoolRequest<'a> {
    /// The name that was said, if one was.
    fn asked(self) -> Option<&'a str> {
        match self {
            PoolRequest::Default => None,
            PoolRequest::AtConstruction(asked) | PoolRequest::Afterwards(asked) => Some(asked),
        }
    }
}

impl TrunkRequest<'_> {
    /// The pool that is asked for cannot be made.
    fn refused_pool(&self, why: impl Into<String>) -> ArchitectureError {
        let asked = self.pool.asked().unwrap_or_default();
        let what = format!("`vision_cfg.timm_pool: {asked}` with the trunk `{}`", self.name);
        ArchitectureError::unsupported(what, why)
    }

    /// Pictures of the size that is asked for are not taken.
    fn refused_size(&self, why: impl Into<String>) -> ArchitectureError {
        let [height, width] = self.image_size;
        let what = format!("`vision_cfg.image_size` [{height}, {width}] with the trunk `{}`", self.name);
        ArchitectureError::unsupported(what, why)
    }
}

/// A trunk whose parameters are declared.
trait Trunk {
    /// Length of the vector that it gives without a classifier; channels of the map, if it does not pool.
    fn features(&self) -> usize;

    /// Height and width of the trunk's last map for pictures of timm's own size for the name, where it gives a map
    /// with its channels first.
    fn map_size(&self) -> Option<[usize; 2]> {
        None
    }

    /// Height and width of the pictures that the trunk is made for, where timm has to change it for those that the
    /// config asks for.
    fn changed_from(&self) -> Option<[usize; 2]> {
        None
    }

    /// Adds the trunk's operations, from pixels to a vector `[batch, features or classes]`, or to a map where it
    /// was asked not to pool (`""`).
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError>;
}

struct TimmModel {
    trunk: Box<dyn Trunk>,
    head: Head,
}

/// Whether the config asks for this tower.
pub(super) fn fits(config: &ModelConfig) -> bool {
    config.vision.timm.is_some()
}

/// Declares the tower's tensors.
pub(super) fn declare(config: &ModelConfig, mut scope: Scope<'_>) -> Declared {
    let Some(timm) = &config.vision.timm else {
        return Err(ArchitectureError::unsupported("a timm tower without a name", "set `timm_model_name`"));
    };
    let name = without_tag(&timm.model_name);
    let family = FAMILIES.iter().find(|family| (family.names)().contains(&name));
    let family = family.ok_or_else(|| unknown(name))?;
    let changes = &timm.changes;
    let changes_size_only = TimmChanges { image_size: None, ..*changes } == TimmChanges::default();
    let can_change = vit::names().contains(&name) || changes_size_only && eva::names().contains(&name);
    if *changes != TimmChanges::default() && !can_change {
        let what = format!("`vision_cfg.timm_model_kwargs` with the trunk `{name}`");
        let why = "of those of vision transformers it is, and `img_size` of those with rotary positions";
        return Err(ArchitectureError::unsupported(what, why));
    }
    let (pool, classifier) = request(timm, config.embed_dim);
    let (image_size, folded) = (config.vision.image_size, config.folded);
    let request = TrunkRequest { name, image_size, pool, classifier, folded, changes };
    let trunk = (family.declare)(&request, scope.child("trunk"))?;
    let sizes = [trunk.features(), config.embed_dim];
    let head = Head::declare(timm, sizes, trunk.map_size(), scope.child("head"))?;
    Ok(Box::new(TimmModel { trunk, head }))
}

/// A timm name without the tag that chooses weights.
fn without_tag(name: &str) -> &str {
    name.split_once('.').map_or(name, |(name, _)| name)
}

/// What open_clip asks of the trunk, by `timm_pool` and `timm_proj`.
fn request(timm: &TimmConfig, embed_dim: usize) -> (PoolRequest<'_>, Option<usize>) {
    let classifier = (timm.projection == TimmProjection::Head).then_some(embed_dim);
    let Some(pool) = timm.pool.as_deref() else { return (PoolRequest::Default, classifier) };
    let projected = matches!(timm.projection, TimmProjection::Linear | TimmProjection::Mlp);
    match timm.projection {
        _ if attention_pool::Positions::of(pool).is_some() => (PoolRequest::Afterwards(""), None),
        _ if projected && pool.is_empty() => (PoolRequest::Default, None),
        _ if projected => (PoolRequest::Afterwards(pool), None),
        _ => (PoolRequest::AtConstruction(pool), classifier),
    }
}

fn unknown(name: &str) -> ArchitectureError {
    let known: Vec<&str> = FAMILIES.iter().flat_map(|family| (family.names)()).collect();
    let nearest = nearest(name, &known).map(|name| format!("; the nearest is `{name}`")).unwrap_or_default();
    let why = format!("the names that are: {}{nearest}", known.join(", "));
    ArchitectureError::unsupported(format!("the timm image tower `{name}`"), why)
}

impl Tower for TimmModel {
    fn forward(&self, graph: &mut GraphBuilder<'_>) -> Result<ValueId, GraphError> {
        let features = self.trunk.forward(graph)?;
        self.head.forward(graph, features)
    }

    fn changed_from(&self) -> Option<[usize; 2]> {
        self.trunk.changed_from()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Parameters;

    #[test]
    fn no_family_makes_a_trunk_of_a_name_that_it_does_not_know() {
        for family in FAMILIES {
            let request = TrunkRequest {
                name: "no_such_trunk",
                image_size: [224; 2],
                pool: PoolRequest::Default,
                classifier: None,
                folded: false,
                changes: &TimmChanges::default(),
            };
            let declared = (family.declare)(&request, Parameters::default().root());
            let error = declared.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(
                error.contains("the timm image tower `no_such_trunk`"),
                "{}: {error}",
                (family.names)()[0]
            );
        }
    }
}
