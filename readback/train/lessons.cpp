#include "readback/train/lessons.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "readback/base/error.h"
#include "readback/train/caption_batch.h"
#include "readback/train/preference.h"

namespace readback::train {

using roundtrip::CandidateRow;
using roundtrip::Choice;
using roundtrip::Direction;

Lessons::Lessons(const std::filesystem::path& folder, Direction direction, const roundtrip::ChoiceOptions& options,
                 Needs needs)
    : direction_(direction),
      store_(std::make_shared<const roundtrip::Store>(roundtrip::Store::open(folder))),
      choices_(roundtrip::choose(*store_, direction, options)),
      summary_(choices_.summary()) {
  const int64_t before = size();
  std::erase_if(choices_.kept, [&](const Choice& choice) {
    return (needs == Needs::kComparisons && choice.rejected < 0) ||
           (needs == Needs::kGroups &&
            std::ssize(choice.candidates) < (options.candidates > 0
                                                 ? std::min(options.candidates, store_->num_candidates())
                                                 : store_->num_candidates()));
  });
  if (const int64_t fewer = before - size(); fewer > 0) {
    summary_ += fmt::format("; {} of them cannot be used, {}", fewer,
                            needs == Needs::kComparisons ? "whose candidates are all alike" : "which lack candidates");
  }
  if (choices_.kept.empty()) throw DataError(describe(folder.string(), "samples to learn from", summary_));
  std::map<std::string, size_t> places;
  for (roundtrip::SampleRow& row : store_->samples()) {
    places[row.id] = samples_.size();
    samples_.push_back({std::move(row), {}});
  }
  for (CandidateRow& row : store_->candidates(direction)) {
    if (row.complete()) samples_[places.at(row.key.sample)].candidates.push_back(std::move(row));
  }
}

Lesson Lessons::draw(Random random, double temperature) const {
  const Choice& choice = choices_.kept[static_cast<size_t>(random.below(size()))];
  const Sample& sample = samples_[static_cast<size_t>(choice.position)];
  Lesson lesson{
      .row = {{}, "", random}, .rejected_picture = {}, .rejected_caption = {}, .candidates = {}, .rewards = {}};
  std::map<int64_t, double> rewards;  // by number
  for (const roundtrip::Rated& rated : choice.candidates) rewards[rated.candidate] = rated.reward;
  for (const auto& [number, reward] : rewards) lesson.rewards.push_back(reward);

  // Of equally good ones any.
  int64_t taken = choice.chosen[static_cast<size_t>(random.below(std::ssize(choice.chosen)))];
  if (temperature > 0) {
    const at::Tensor values = at::tensor(lesson.rewards, at::kDouble).unsqueeze(0);
    const at::Tensor shares =
        at::softmax(group_advantages(values, RewardScale::kGroup).squeeze(0).to(at::kDouble) / temperature, 0);
    double rest = random.uniform();
    int64_t place = 0;
    for (const auto& [number, reward] : rewards) {
      taken = number;
      rest -= shares[place++].item<double>();
      if (rest < 0) break;
    }
  }
  lesson.row.random = random;
  const CandidateRow& chosen = candidate(sample, taken);
  if (direction_ == Direction::kI2T2I) {
    lesson.row.picture = picture(sample.row.image);
    lesson.row.caption = prepare_caption(*chosen.text);
    for (const auto& [number, reward] : rewards) {
      lesson.candidates.push_back(prepare_caption(*candidate(sample, number).text));
    }
    if (choice.rejected >= 0) lesson.rejected_caption = prepare_caption(*candidate(sample, choice.rejected).text);
  } else {
    lesson.row.picture = picture(*chosen.image);
    lesson.row.caption = prepare_caption(sample.row.prompt());
    if (choice.rejected >= 0) lesson.rejected_picture = picture(*candidate(sample, choice.rejected).image);
  }
  return lesson;
}

const CandidateRow& Lessons::candidate(const Sample& sample, int64_t number) const {
  return *std::ranges::find(sample.candidates, number, [](const CandidateRow& row) { return row.key.candidate; });
}

Picture Lessons::picture(const std::string& path) const {
  return {(store_->folder() / path).string(), [store = store_, path] { return store->load_image(path); }};
}

}  // namespace readback::train
