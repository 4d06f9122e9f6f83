#include "readback/score/text/wmd.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "readback/score/text/transport.h"
#include "readback/text/ptb_tokenizer.h"
#include "readback/text/unicode.h"

namespace readback::score {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const std::set<std::string>& stop_words() {
  static const std::set<std::string> words = [] {
    const Tokens list = split_words(
        "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself she her hers "
        "herself it its itself they them their theirs themselves what which who whom this that these those am is are "
        "was were be been being have has had having do does did doing a an the and but if or because as until while "
        "of at by for with about against between into through during before after above below to from up down in out "
        "on off over under again further then once here there when where why how all any both each few more most "
        "other some such no nor not only own same so than too very can will just should now "
        "s t d ll m o re ve y ain aren couldn didn doesn don hadn hasn haven isn ma mightn mustn needn shan shouldn "
        "wasn weren won wouldn "
        "you're you've you'll you'd she's it's that'll should've aren't couldn't didn't doesn't don't hadn't hasn't "
        "haven't isn't mightn't mustn't needn't shan't shouldn't wasn't weren't won't wouldn't");
    return std::set<std::string>(list.begin(), list.end());
  }();
  return words;
}

double euclidean(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum);
}

}  // namespace

Tokens WordMover::words(const std::string& text) const {
  Tokens words = options_.words == WmdWords::kPtb
                     ? text::ptb_tokens(text)
                     : split_words(text::encode_utf8(text::lower(text::decode_utf8(text))));
  if (!options_.keep_stop_words) std::erase_if(words, [](const auto& word) { return stop_words().contains(word); });
  return words;
}

const std::vector<double>& WordMover::vector(const std::string& word) {
  const auto [entry, is_new] = seen_.try_emplace(word);
  std::vector<double>& values = entry->second;
  if (!is_new) return values;
  if (const auto found = vectors_->find(word)) values.assign(found->begin(), found->end());
  const double length = std::sqrt(std::inner_product(values.begin(), values.end(), values.begin(), 0.0));
  if (options_.normalize && length > 0) {
    for (double& value : values) value /= length;
  }
  return values;
}

WordMover::Bag WordMover::bag(const std::string& text) {
  Bag bag;
  for (const std::string& word : words(text)) {
    if (vector(word).empty()) continue;
    ++bag.counts[word];
    ++bag.total;
  }
  return bag;
}

double WordMover::distance(const std::string& a, const std::string& b, const Context& context) {
  const Bag from = bag(a), to = bag(b);
  if (from.total == 0 || to.total == 0) return kNaN;
  // With from.total · to.total as the denominator all shares are whole numbers. What both texts have of a word stays
  // where it is: by the triangle inequality no plan that moves it is cheaper.
  const auto surplus = [&](const Bag& bag, const Bag& other) {
    std::vector<std::pair<const std::vector<double>*, int64_t>> words;
    for (const auto& [word, count] : bag.counts) {
      const auto shared = other.counts.find(word);
      const int64_t rest = count * other.total - (shared == other.counts.end() ? 0 : shared->second * bag.total);
      if (rest > 0) words.emplace_back(&vector(word), rest);
    }
    return words;
  };
  const auto sources = surplus(from, to), targets = surplus(to, from);
  if (std::max(sources.size(), targets.size()) > kMostWmdWords) return kNaN;
  std::vector<int64_t> supplies, demands;
  std::vector<double> costs;
  for (const auto& [place, amount] : targets) demands.push_back(amount);
  for (const auto& [place, amount] : sources) {
    supplies.push_back(amount);
    for (const auto& target : targets) costs.push_back(euclidean(*place, *target.first));
  }
  return transport_cost(supplies, demands, costs, context) /
         (static_cast<double>(from.total) * static_cast<double>(to.total));
}

namespace {

class WmdMetric : public Metric {
 public:
  WmdMetric(MetricInfo info, std::shared_ptr<const WordVectors> vectors, const WmdOptions& options)
      : info_(std::move(info)), mover_(vectors, options) {
    info_.checkpoint = vectors->name();
  }

  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& context) override {
    std::vector<double> values;
    for (const Comparison& comparison : comparisons) {
      values.push_back(mover_.distance(comparison.candidate_text, comparison.original_text, context));
    }
    return values;
  }

 private:
  MetricInfo info_;
  WordMover mover_;
};

}  // namespace

std::unique_ptr<Metric> make_wmd_metric(MetricInfo info, std::shared_ptr<const WordVectors> vectors,
                                        const WmdOptions& options) {
  return std::make_unique<WmdMetric>(std::move(info), std::move(vectors), options);
}

}  // namespace readback::score
