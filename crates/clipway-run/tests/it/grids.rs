//! Images that keep their proportions (NaFlex): each is computed as a tower of its size computes it.

use clipway_formats::TensorInfo;
use clipway_model::checkpoint::Checkpoint;
use clipway_model::config::{PixelRule, PreprocessOptions, ResizeMode};
use clipway_model::export::Export;
use clipway_model::plan::Towers;
use clipway_model::source::{ModelChoice, Source, SourceOptions};
use clipway_model::spelling::Target;
use clipway_run::Clip;
use clipway_run::budget::Budget;
use clipway_run::engine::Passes;
use clipway_run::image::{Image, Samples};
use clipway_run::load::LoadOptions;
use clipway_run::tower::TowerInput;
use clipway_run::verify::{FolderVerification, Inputs};
use clipway_testing::formula;
use tempfile::TempDir;

use crate::made::{tensors_of, write, write_options};

const CONFIG: &str = r#"{"embed_dim": 24, "vision_cfg": {"timm_model_name": "naflexvit_base_patch16_gap", "image_size": 32,
    "timm_pool": "avg", "timm_proj": "linear", "timm_model_kwargs": {"patch_size": 8, "embed_dim": 36, "depth": 2,
    "num_heads": 3, "mlp_ratio": 2.5, "pos_embed_grid_size": [4, 4]}}, "text_cfg": {"context_length": 12,
    "vocab_size": 96, "width": 32, "heads": 2, "layers": 2}, "custom_text": true}"#;

/// Patches of 8 pixels.
const MOST: usize = 20;

struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.json"), CONFIG).unwrap();
        let bytes = |tensor: &TensorInfo| {
            let mut values = Vec::new();
            formula::fill(&tensor.name, &tensor.shape, &mut values);
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        };
        write(&folder.path().join("model.safetensors"), &tensors_of(CONFIG), bytes);
        Scene { folder }
    }

    fn source(&self, options: SourceOptions) -> Source {
        let model = Some(ModelChoice::File(self.folder.path().join("model.json")));
        let options = SourceOptions { model, tower: Some(Towers::Image), ..options };
        Source::resolve(self.folder.path().join("model.safetensors"), &options).unwrap()
    }

    fn native(&self, load: &LoadOptions) -> Clip {
        let options = SourceOptions { max_patches: Some(MOST), ..SourceOptions::default() };
        Clip::load(&self.source(options), load).unwrap()
    }
}

fn picture(height: usize, width: usize) -> Image {
    let byte = |index: usize| (index * index / 7 + index * 31) as u8;
    let samples = Samples::Rgb((0..3 * height * width).map(byte).collect());
    Image { width, height, orientation: None, transparency: None, samples }
}

#[test]
fn an_image_is_computed_as_by_a_tower_of_its_size() {
    let scene = Scene::new();
    let clip = scene.native(&LoadOptions::default());
    let input = clip.describe().image.unwrap().input;
    assert_eq!(input, TowerInput::Grids { side: 8, most: MOST });
    assert_eq!(clip.pixel_values(), 3 * 64 * MOST + 2);
    // Without this pass, whose product rounds otherwise, the numbers are the same.
    let load = LoadOptions { passes: Passes { tables: false, ..Passes::ALL }, ..LoadOptions::default() };
    let (mut batch, mut alone) = (Vec::new(), Vec::new());
    for (of, size) in
        [((480, 640), [32, 40]), ((100, 100), [32, 32]), ((9, 700), [8, 160]), ((3, 2), [40, 32])]
    {
        let image = picture(of.0, of.1);
        let pixels = clip.pixels("a", &image).unwrap();
        let stated = [pixels[pixels.len() - 2], pixels[pixels.len() - 1]];
        assert_eq!(stated, size.map(|side| side as f32), "{of:?}");
        assert!(pixels[3 * size[0] * size[1]..pixels.len() - 2].iter().all(|value| *value == 0.0));
        let squash = PreprocessOptions { resize_mode: Some(ResizeMode::Squash), ..Default::default() };
        let fixed = SourceOptions { image_size: Some(size), preprocess: squash, ..SourceOptions::default() };
        let fixed = Clip::load(&scene.source(fixed), &load).unwrap();
        let feature = clip.encode_pixels(&pixels).unwrap();
        assert_eq!(feature, fixed.encode_pixels(&fixed.pixels("a", &image).unwrap()).unwrap(), "{of:?}");
        batch.extend(pixels);
        alone.extend(feature);
    }
    assert_eq!(clip.encode_pixels(&batch).unwrap(), alone);
}

#[test]
fn a_folder_that_keeps_proportions_is_verified_whatever_is_said_of_its_source() {
    let scene = Scene::new();
    let options = SourceOptions { max_patches: Some(MOST), ..SourceOptions::default() };
    let mean = PreprocessOptions { mean: Some([0.5; 3]), ..PreprocessOptions::default() };
    let changed = SourceOptions { preprocess: mean, ..options.clone() };
    let checkpoint = Checkpoint::open(scene.folder.path().join("model.safetensors")).unwrap();
    let checkpoint = std::sync::Arc::new(checkpoint);
    for (name, options, passes) in [("same", options, true), ("other", changed, false)] {
        let folder = scene.folder.path().join(name);
        let spelling = Target::named("clipway").unwrap().spelling;
        Export::prepare(&scene.source(options), spelling).unwrap().write(&folder, &write_options()).unwrap();
        let (inputs, load) = (Inputs::built_in(), LoadOptions::default());
        let model = Some(ModelChoice::File(scene.folder.path().join("model.json")));
        let said = SourceOptions { model, ..SourceOptions::default() };
        let report =
            FolderVerification { inputs: &inputs, load, source: said }.run(&folder, &checkpoint).unwrap();
        assert_eq!(report.passed, passes, "{}", report.explanation());
        assert!(report.images > 0);
    }
}

#[test]
fn more_sizes_than_are_kept_give_the_same_features() {
    let scene = Scene::new();
    let clip = scene.native(&LoadOptions::default());
    let pixels_of = |rows: usize, columns: usize| {
        let mut pixels = vec![0.0; clip.pixel_values()];
        let values = 3 * 64 * rows * columns;
        pixels[..values]
            .iter_mut()
            .enumerate()
            .for_each(|(index, value)| *value = (index % 13) as f32 / 6.0 - 1.0);
        let place = pixels.len() - 2;
        pixels[place..].copy_from_slice(&[8 * rows, 8 * columns].map(|side| side as f32));
        pixels
    };
    // 66 sizes: the first is no longer kept when it comes again.
    let sizes = (1..=MOST).flat_map(|rows| (1..=MOST / rows).map(move |columns| (rows, columns)));
    let run = || -> Vec<Vec<f32>> {
        sizes.clone().map(|(rows, columns)| clip.encode_pixels(&pixels_of(rows, columns)).unwrap()).collect()
    };
    let first = run();
    assert_eq!(first.len(), 66);
    assert_eq!(run(), first);
    assert_ne!(first[0], first[1]);
}

#[test]
fn sizes_that_are_none_are_refused() {
    let clip = Scene::new().native(&LoadOptions::default());
    let refused = |height: f32, width: f32| {
        let mut pixels = vec![0.0; clip.pixel_values()];
        let place = pixels.len() - 2;
        pixels[place..].copy_from_slice(&[height, width]);
        clip.encode_pixels(&pixels).unwrap_err()
    };
    for (height, width) in
        [(0.0, 8.0), (8.0, 12.0), (-8.0, 8.0), (f32::NAN, 8.0), (8.0, f32::INFINITY), (64.0, 64.0)]
    {
        let error = refused(height, width);
        assert_eq!(error.code(), "shape-mismatch");
        assert!(error.to_string().ends_with("is not 1 to 20 whole patches of 8 pixels"), "{error}");
    }
    let error = clip.encode_pixels(&[0.0; 100]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "pixels: expected a multiple of 3842 values, a row for each image, found 100"
    );
}

#[test]
fn the_budget_is_that_of_the_largest_images() {
    let scene = Scene::new();
    let source = |max_patches| scene.source(SourceOptions { max_patches, ..SourceOptions::default() });
    let bytes = |source: &Source| source.model().image.cost(&source.model().parameters, 0).bytes;
    let fixed = source(None);
    let budget = Budget { bytes: 2 * bytes(&fixed), ..Budget::default() };
    let load = LoadOptions { budget, ..LoadOptions::default() };
    Clip::load(&fixed, &load).unwrap();
    Clip::load(&source(Some(20)), &load).unwrap();
    let error = Clip::load(&source(Some(200)), &load).err().unwrap();
    assert_eq!(error.code(), "too-large");
    assert_eq!(
        source(Some(200)).config().preprocess().rule.to_string(),
        "timm, own proportions in at most 200 patches of 8 pixels"
    );
    assert!(matches!(fixed.config().preprocess().rule, PixelRule::OpenClip));
}
