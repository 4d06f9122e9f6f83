// How well a picture and a text fit together, by the models that were trained on such pairs. Neither draws nor writes:
// what a candidate reconstructs is judged by its probability instead of by one sample.
#pragma once
#include <memory>

#include "readback/caption/captioner.h"
#include "readback/generate/generator.h"
#include "readback/score/metric.h"

namespace readback::score {

// log p(text | picture) a token, by a captioner: what VisualGPTScore is the exponential of, but for the mean over
// tokens (Lin et al., https://arxiv.org/abs/2306.01879). Higher is better.
std::unique_ptr<Metric> make_text_probability_metric(MetricInfo info, std::shared_ptr<caption::Captioner> captioner);

// The probability that a model which answers questions says Yes to 'Does this figure show "…"? Please answer yes or
// no.', VQAScore's question (Lin et al., https://arxiv.org/abs/2404.01291). Higher is better.
std::unique_ptr<Metric> make_vqascore_metric(MetricInfo info, std::shared_ptr<caption::Captioner> judge);

// How badly a generator removes noise from the picture, given the text: a bound on −log p(picture | text) but for
// weights and a constant (Diffusion Classifier, Li et al., https://arxiv.org/abs/2303.16203). Lower is better.
std::unique_ptr<Metric> make_denoising_error_metric(MetricInfo info, std::shared_ptr<generate::Generator> generator);

}  // namespace readback::score
