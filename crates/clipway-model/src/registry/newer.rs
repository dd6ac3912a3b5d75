//! Names of architectures that open_clip's main branch has and 3.3.0 has not, so that a message can say where they come from.

use Newer::{Generative, ImageAndText, Sound};

/// What an architecture of open_clip's main branch reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newer {
    /// Images and texts, by two towers.
    ImageAndText,
    /// Sound and texts (CLAP).
    Sound,
    /// Images or sound, to write texts (GenLIP, GenLAP).
    Generative,
}

/// The names, with what each reads.
const NAMES: [(&str, Newer); 37] = [
    ("CLAP-HTSAT-base", Sound),
    ("CLAP-HTSAT-base-Roberta-base", Sound),
    ("CLAP-HTSAT-large", Sound),
    ("CLAP-HTSAT-tiny", Sound),
    ("CLAP-HTSAT-tiny-Roberta-base", Sound),
    ("CLAP-HTSAT-tiny-Roberta-base-fused", Sound),
    ("CLAP-Whisper-base-Roberta-base", Sound),
    ("CLAP-Whisper-small-Roberta-base", Sound),
    ("CLAP-Whisper-tiny-Roberta-base", Sound),
    ("ViT-B-16-SigLIP2-naflex", ImageAndText),
    ("ViT-SO400M-16-SigLIP2-naflex", ImageAndText),
    ("gte-modernbert-base-ViT-B-32-256", ImageAndText),
    ("moderntext-ViT-B-32-256", ImageAndText),
    ("moderntext-naflex_ViT-B-16", ImageAndText),
    ("moderntext-naflex_ViT-B-32", ImageAndText),
    ("moderntext-naflex_ViT-B-deep-16", ImageAndText),
    ("moderntext-naflex_ViT-SO150M2-16", ImageAndText),
    ("naflex_ViT-B-16", ImageAndText),
    ("naflex_ViT-B-32", ImageAndText),
    ("naflexclap_base_pf4_pt20_moderntextp", Sound),
    ("naflexclap_base_pf8_pt16_moderntext", Sound),
    ("naflexclap_base_pf8_pt16_moderntextp", Sound),
    ("naflexclap_base_pf8_pt20_moderntextp", Sound),
    ("naflexclap_little", Sound),
    ("naflexclap_little_roberta", Sound),
    ("naflexclap_mediumd", Sound),
    ("naflexclap_mediumd_pf4_pt20_moderntextp", Sound),
    ("naflexclap_mediumd_roberta", Sound),
    ("naflexclap_test", Sound),
    ("naflexgenlap_betwixt", Generative),
    ("naflexgenlap_so150m2", Generative),
    ("naflexgenlap_test_1d", Generative),
    ("naflexgenlap_test_2d", Generative),
    ("naflexgenlip_b16", Generative),
    ("naflexgenlip_so150m2", Generative),
    ("naflexgenlip_so16", Generative),
    ("naflexgenlip_test", Generative),
];

impl Newer {
    /// The architecture with this name, if only open_clip's main branch has it.
    pub(super) fn named(name: &str) -> Option<Newer> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, newer)| *newer)
    }

    /// What follows the name in a message.
    pub(super) fn message(self) -> &'static str {
        match self {
            ImageAndText => {
                ", which open_clip's main branch has and 3.3.0 has not: its config is not built in"
            }
            Sound => " of open_clip's main branch: it reads sound, which is not supported",
            Generative => " of open_clip's main branch: it writes texts, which is not supported",
        }
    }
}
