#include "readback/score/text/meteor/aligner.h"

#include <algorithm>
#include <cstdlib>

namespace readback::score {

namespace {

constexpr size_t kBeam = 40;
constexpr int kCarry = -1, kSkip = -2;

bool have_common(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    if (*i == *j) return true;
    *i < *j ? ++i : ++j;
  }
  return false;
}

// Half a word counts for nothing: the jar adds these weights to integers.
int weight_of(const MeteorMatch& match) {
  if (match.stage == kExact) return match.length + match.hypothesis_length;
  return match.length / 2 + match.hypothesis_length / 2;
}

template <class A, class B>
bool is_better(const A& a, const B& b) {
  if (a.weight != b.weight) return a.weight > b.weight;
  if (a.chunks != b.chunks) return a.chunks < b.chunks;
  return a.distance < b.distance;
}

bool breaks_chunk(int last_end, const MeteorMatch& match) {
  return last_end != -1 && match.hypothesis_start != last_end;
}

// Calls found(phrase) for each place of the sentence where phrase `node` stands, from left to right.
template <class Found>
void for_each_place(const MeteorSentence& sentence, uint32_t node, Found found) {
  if ((sentence.phrase_bits >> (node % 64) & 1) == 0) return;
  auto place = std::lower_bound(sentence.by_node.begin(), sentence.by_node.end(), node,
                                [](const MeteorPhrase& phrase, uint32_t value) { return phrase.node < value; });
  for (; place != sentence.by_node.end() && place->node == node; ++place) found(*place);
}

}  // namespace

// The order of what is found here decides ties: first the reference's phrases, then the hypothesis's.
void MeteorAligner::find_paraphrases() {
  for (const MeteorPhrase& phrase : reference_->phrases) {
    for (const uint32_t meaning : phrase.paraphrases) {
      for_each_place(*hypothesis_, meaning, [&](const MeteorPhrase& place) {
        add_paraphrase({phrase.start, phrase.length, place.start, place.length, kParaphrase});
      });
    }
  }
  for (const MeteorPhrase& phrase : hypothesis_->phrases) {
    for (const uint32_t meaning : phrase.paraphrases) {
      for_each_place(*reference_, meaning, [&](const MeteorPhrase& place) {
        add_paraphrase({place.start, place.length, phrase.start, phrase.length, kParaphrase});
      });
    }
  }
}

// By stage, then by hypothesis word. Made anew for each reference word, since all matches of two texts of ten thousand
// words could fill the memory.
void MeteorAligner::find_matches(int start) {
  here_.clear();
  stems_.clear();
  synonyms_.clear();
  const MeteorKeys word = reference_->keys[start];
  for (int i = 0; i < static_cast<int>(hypothesis_->keys.size()); ++i) {
    const MeteorKeys& other = hypothesis_->keys[i];
    if (word.word == other.word) {
      here_.push_back({start, 1, i, 1, kExact});
    } else if (!identical_) {
      if (word.stem == other.stem) stems_.push_back({start, 1, i, 1, kStem});
      if ((word.synsets & other.synsets) != 0 &&
          have_common(reference_->words[start]->synsets, hypothesis_->words[i]->synsets)) {
        synonyms_.push_back({start, 1, i, 1, kSynonym});
      }
    }
  }
  here_.insert(here_.end(), stems_.begin(), stems_.end());
  here_.insert(here_.end(), synonyms_.begin(), synonyms_.end());
  here_.insert(here_.end(), paraphrases_[start].begin(), paraphrases_[start].end());
}

// Matches whose words, on both sides, no other match wants.
void MeteorAligner::fix_certain_matches() {
  const size_t size = reference_->words.size();
  hypothesis_cover_.assign(hypothesis_->words.size(), 0);
  reference_cover_.assign(size, 0);
  fixed_.assign(size, {});
  for (size_t start = 0; start < size; ++start) {
    find_matches(static_cast<int>(start));
    for (const MeteorMatch& match : here_) {
      for (int k = 0; k < match.length; ++k) ++reference_cover_[match.start + k];
      for (int k = 0; k < match.hypothesis_length; ++k) ++hypothesis_cover_[match.hypothesis_start + k];
    }
    if (here_.size() == 1) fixed_[start] = here_[0];
  }
  const auto alone = [](const std::vector<int>& cover, int start, int length) {
    return std::all_of(cover.begin() + start, cover.begin() + start + length, [](int count) { return count == 1; });
  };
  for (MeteorMatch& match : fixed_) {
    if (!alone(reference_cover_, match.start, match.length) ||
        !alone(hypothesis_cover_, match.hypothesis_start, match.hypothesis_length)) {
      match.length = 0;
    }
  }
}

bool MeteorAligner::is_free(int rank, const MeteorMatch& match) const {
  for (int i = match.hypothesis_start; i < match.hypothesis_start + match.hypothesis_length; ++i) {
    if (used_[rank * blocks_ + i / 64] >> (i % 64) & 1) return false;
  }
  // Of the reference only a certain match can lie ahead, and no other match touches its words.
  return true;
}

// Keeps the best kBeam, equal ones in the order of their coming.
void MeteorAligner::offer(const Candidate& candidate) {
  if (candidates_.size() == kBeam) {
    if (!is_better(candidate, candidates_.back())) return;
    candidates_.pop_back();
  }
  size_t at = candidates_.size();
  while (at > 0 && is_better(candidate, candidates_[at - 1])) --at;
  candidates_.insert(candidates_.begin() + static_cast<ptrdiff_t>(at), candidate);
}

// Offers every continuation of a path over reference word `start`.
void MeteorAligner::extend(int rank, int start) {
  Path& path = paths_[rank];
  if (start < path.next) {
    offer({path.weight, path.chunks, path.distance, rank, kCarry});
    return;
  }
  if (const MeteorMatch& match = fixed_[start]; match.length > 0) {
    path.weight += weight_of(match);
    path.chunks += breaks_chunk(path.last_end, match);
    path.distance += std::abs(match.start - match.hypothesis_start);
    path.next = match.start + match.length;
    path.last_end = match.hypothesis_start + match.hypothesis_length;
    offer({path.weight, path.chunks, path.distance, rank, kCarry});
    return;
  }
  // As in the jar, a match's distance is added to the paths that are tried after it and not to its own.
  int distance = path.distance;
  for (size_t i = 0; i < here_.size(); ++i) {
    const MeteorMatch& match = here_[i];
    if (!is_free(rank, match)) continue;
    offer({path.weight + weight_of(match), path.chunks + breaks_chunk(path.last_end, match), distance, rank,
           static_cast<int>(i)});
    distance += std::abs(match.start - match.hypothesis_start);
  }
  offer({path.weight, path.chunks + (path.last_end != -1), distance, rank, kSkip});
}

// The candidates become the paths.
void MeteorAligner::advance(int start) {
  next_paths_.clear();
  next_used_.clear();
  for (const Candidate& candidate : candidates_) {
    const auto used = used_.begin() + static_cast<ptrdiff_t>(candidate.parent * blocks_);
    next_used_.insert(next_used_.end(), used, used + static_cast<ptrdiff_t>(blocks_));
    Path path = paths_[candidate.parent];
    if (candidate.match != kCarry) {
      path.weight = candidate.weight;
      path.chunks = candidate.chunks;
      path.distance = candidate.distance;
    }
    if (candidate.match == kSkip) {
      path.next = start + 1;
      path.last_end = -1;
    } else if (candidate.match != kCarry) {
      const MeteorMatch& match = here_[candidate.match];
      path.next = match.start + match.length;
      path.last_end = match.hypothesis_start + match.hypothesis_length;
      trace_.push_back({match, path.trace});
      path.trace = static_cast<int>(trace_.size()) - 1;
      uint64_t* bits = &next_used_[next_used_.size() - blocks_];
      for (int i = match.hypothesis_start; i < path.last_end; ++i) bits[i / 64] |= uint64_t{1} << (i % 64);
    }
    next_paths_.push_back(path);
  }
  std::swap(paths_, next_paths_);
  std::swap(used_, next_used_);
}

void MeteorAligner::search() {
  const int size = static_cast<int>(reference_->words.size());
  blocks_ = (hypothesis_->words.size() + 63) / 64;
  paths_.assign(1, {0, 0, 0, 0, -1, -1});
  used_.assign(blocks_, 0);
  trace_.clear();
  for (int start = 0; start < size; ++start) {
    if (fixed_[start].length == 0 && reference_cover_[start] > 0) {
      find_matches(start);
    } else {
      here_.clear();
    }
    candidates_.clear();
    for (size_t rank = 0; rank < paths_.size(); ++rank) extend(static_cast<int>(rank), start);
    advance(start);
  }
  for (Path& path : paths_) path.chunks += path.last_end != -1;
  const Path& best =
      *std::min_element(paths_.begin(), paths_.end(), [](const Path& a, const Path& b) { return is_better(a, b); });
  result_.clear();
  for (const MeteorMatch& match : fixed_) {
    if (match.length > 0) result_.push_back(match);
  }
  for (int i = best.trace; i >= 0; i = trace_[i].previous) result_.push_back(trace_[i].match);
  std::sort(result_.begin(), result_.end(),
            [](const MeteorMatch& a, const MeteorMatch& b) { return a.start < b.start; });
}

std::span<const MeteorMatch> MeteorAligner::align(const MeteorSentence& hypothesis, const MeteorSentence& reference) {
  hypothesis_ = &hypothesis;
  reference_ = &reference;
  identical_ = std::equal(hypothesis.keys.begin(), hypothesis.keys.end(), reference.keys.begin(), reference.keys.end(),
                          [](const MeteorKeys& a, const MeteorKeys& b) { return a.word == b.word; });
  if (paraphrases_.size() < reference.words.size()) paraphrases_.resize(reference.words.size());
  for (auto& matches : paraphrases_) matches.clear();
  if (!identical_) find_paraphrases();
  fix_certain_matches();
  search();
  return result_;
}

}  // namespace readback::score
