//! Image towers by timm name: open_clip's `TimmModel`, a timm trunk (`visual.trunk.…`) and what open_clip puts after it
//! (`visual.head.…`).
//!
//! A new family of trunks is one file and one line in [`FAMILIES`].

mod request;
mod layers;
mod vitamin;
mod tokens;
mod block;
mod token_pool;
mod token_trunk;
mod vit_variants;
mod naflex_variants;
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

use crate::config::{ModelConfig, TimmChanges, TimmConfig, TimmProjection, is_naflex};
use crate::graph::{GraphBuilder, GraphError, Scope, ValueId};
use crate::nearest::nearest;

use super::{ArchitectureError, Declared, Tower};
use head::Head;
use request::{DeclaredTrunk, PoolRequest, Trunk, TrunkRequest, without_tag};

/// Every family of trunks. The first one with a matching name builds the trunk.
const FAMILIES: &[Family] = &[
    Family { names: vit::names, declare: vit::declare },
    Family { names: relpos::names, declare: relpos::declare },
    Family { names: eva::names, declare: eva::declare },
    Family { names: fastvit::names, declare: fastvit::declare },
    Family { names: convnext::names, declare: convnext::declare },
    Family { names: swin::names, declare: swin::declare },
];

/// Trunks that share their code.
struct Family {
    /// The timm names, without a tag.
    names: fn() -> Vec<&'static str>,
    /// Declares the tensors of one of these trunks.
    declare: fn(&TrunkRequest<'_>, Scope<'_>) -> DeclaredTrunk,
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
        let why = "only vision transformers support it; trunks with rotary positions support just `img_size`";
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

/// What open_clip asks of the trunk, from `timm_pool` and `timm_proj`.
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
    // Of a NaFlex tower, the names of its kind say enough.
    let all = FAMILIES.iter().flat_map(|family| (family.names)());
    let known: Vec<&str> = all.filter(|known| !is_naflex(name) || is_naflex(known)).collect();
    let nearest = nearest(name, &known).map(|name| format!("; the nearest is `{name}`")).unwrap_or_default();
    let why = format!("known names: {}{nearest}", known.join(", "));
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
