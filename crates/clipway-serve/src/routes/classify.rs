//! `/v1/classify`: zero-shot classification by the model's own scale.

use clipway_run::zero_shot::{Classifier, ProbabilityRule, Score};
use serde::Serialize;

use crate::app::{App, Call, Features, How, Reply};
use crate::error::RequestError;
use crate::parse::{ClassifyRequest, parse_classify};

/// The answer.
#[derive(Serialize)]
struct Answer<'a> {
    model: &'a str,
    probability_rule: ProbabilityRule,
    logit_scale: f32,
    logit_bias: Option<f32>,
    results: Vec<Classified>,
}

/// An image's labels, best first.
#[derive(Serialize)]
struct Classified {
    index: usize,
    labels: Vec<Labeled>,
}

/// A label of an image.
#[derive(Serialize)]
struct Labeled {
    label: String,
    probability: f32,
    cosine: f32,
}

pub(super) async fn call(app: &App, call: Call) -> Result<Reply, RequestError> {
    let Call { body, held, .. } = call;
    let request = app.parsed(body, parse_classify).await?;
    let ClassifyRequest { images, labels, templates, prompts } = request;
    let (count, mut inputs) = (images.len(), images);
    inputs.extend(prompts);
    // The classifier scales features itself.
    let features = app.embed(inputs, How { normalize: false, ..How::default() }).await?;
    drop(held);
    let (times, truncated) = (features.times, features.truncated);
    let rows = features.whole()?;
    let (images, prompts) = rows.split_at(count);
    let (width, scale, bias) = (app.clip.embed_dim(), app.clip.logit_scale(), app.clip.logit_bias());
    let classifier = Classifier::new(&prompts.concat(), templates, width, scale, bias);
    let labeled = |Score { label, probability, cosine }: Score| Labeled {
        label: labels[label].clone(),
        probability,
        cosine,
    };
    let classified = |(index, image): (usize, &Vec<f32>)| Classified {
        index,
        labels: classifier.scores(image).into_iter().map(labeled).collect(),
    };
    let answer = Answer {
        model: app.model.name(),
        probability_rule: classifier.rule(),
        logit_scale: scale,
        logit_bias: bias,
        results: images.iter().enumerate().map(classified).collect(),
    };
    Ok(Features::stamp(times, truncated, Reply::json(&answer)))
}
