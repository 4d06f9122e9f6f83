#include "readback/score/text/reference_metrics.h"

#include <fmt/ranges.h>

#include <functional>
#include <limits>

#include "readback/score/text/bleu.h"
#include "readback/score/text/meteor/meteor.h"
#include "readback/score/text/rouge.h"
#include "readback/score/text/spice/spice.h"
#include "readback/text/ptb_tokenizer.h"

namespace readback::score {

namespace {

Tokens caption_words(const std::string& text) { return split_tokens(text::ptb_tokens(text)); }
Tokens caption_tokens(const std::string& text) { return text::ptb_tokens(text); }

using Tokenizer = Tokens (*)(const std::string&);

std::vector<Tokens> tokenize(const std::vector<std::string>& texts, Tokenizer tokenizer) {
  std::vector<Tokens> result;
  for (const std::string& text : texts) result.push_back(tokenizer(text));
  return result;
}

class ReferenceMetric : public Metric {
 public:
  using Function = std::function<double(const Tokens&, std::span<const Tokens>)>;
  ReferenceMetric(MetricInfo info, Tokenizer tokenizer, Function function)
      : info_(std::move(info)), tokenizer_(tokenizer), function_(std::move(function)) {}

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& context) override {
    std::vector<double> values;
    for (const Comparison& comparison : comparisons) {
      context.check();
      values.push_back(comparison.references.empty() ? std::numeric_limits<double>::quiet_NaN()
                                                     : function_(tokenizer_(comparison.candidate_text),
                                                                 tokenize(comparison.references, tokenizer_)));
    }
    return values;
  }

 private:
  MetricInfo info_;
  Tokenizer tokenizer_;
  Function function_;
};

std::string joined_tokens(const std::string& text) { return fmt::format("{}", fmt::join(caption_tokens(text), " ")); }

class SpiceMetric : public Metric {
 public:
  explicit SpiceMetric(MetricInfo info) : info_(std::move(info)) {}

  const MetricInfo& info() const override { return info_; }
  bool prefers_all_at_once() const override { return true; }

  void prepare(std::span<const Comparison> comparisons, const Context& context) override {
    measure(comparisons, context);
  }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& context) override {
    std::vector<double> values;
    for (const SpiceScore& score : measure(comparisons, Context(context.stop_token()))) values.push_back(score.f());
    return values;
  }

 private:
  std::vector<SpiceScore> measure(std::span<const Comparison> comparisons, const Context& context) {
    std::vector<SpiceInput> inputs;
    for (const Comparison& comparison : comparisons) {
      inputs.push_back({joined_tokens(comparison.candidate_text), {}});
      for (const std::string& reference : comparison.references) {
        inputs.back().references.push_back(joined_tokens(reference));
      }
    }
    return spice_.score(inputs, context);
  }

  MetricInfo info_;
  Spice spice_;
};

}  // namespace

std::unique_ptr<Metric> make_bleu_metric(MetricInfo info, int order) {
  return std::make_unique<ReferenceMetric>(
      std::move(info), caption_words, [order](const Tokens& candidate, std::span<const Tokens> references) {
        return bleu(count_bleu(candidate, references))[static_cast<size_t>(order - 1)];
      });
}

std::unique_ptr<Metric> make_meteor_metric(MetricInfo info) {
  return std::make_unique<ReferenceMetric>(
      std::move(info), caption_tokens,
      [scorer = std::make_shared<Meteor>(MeteorTables::load())](const Tokens& candidate,
                                                                std::span<const Tokens> references) {
        std::vector<std::string> texts;
        for (const Tokens& tokens : references) texts.push_back(fmt::format("{}", fmt::join(tokens, " ")));
        return scorer->score(fmt::format("{}", fmt::join(candidate, " ")), texts).score;
      });
}

std::unique_ptr<Metric> make_rouge_metric(MetricInfo info) {
  return std::make_unique<ReferenceMetric>(std::move(info), caption_tokens, rouge_l);
}

std::unique_ptr<Metric> make_cider_metric(MetricInfo info, CiderVariant variant,
                                          const std::vector<std::vector<std::string>>& corpus) {
  DocumentFrequencies frequencies;
  for (const auto& references : corpus) {
    if (!references.empty()) frequencies.add(tokenize(references, caption_words));
  }
  return std::make_unique<ReferenceMetric>(
      std::move(info), caption_words,
      [variant, frequencies = std::move(frequencies)](const Tokens& candidate, std::span<const Tokens> references) {
        return cider(candidate, references, frequencies, variant);
      });
}

std::unique_ptr<Metric> make_spice_metric(MetricInfo info) { return std::make_unique<SpiceMetric>(std::move(info)); }

}  // namespace readback::score
