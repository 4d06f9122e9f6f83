// METEOR's alignment: which words of two sentences correspond (Denkowski and Lavie, WMT 2014), found by the beam search
// of meteor-1.5.jar down to its ties.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "readback/score/text/meteor/lexicon.h"

namespace readback::score {

// In order of preference.
enum MeteorStage { kExact, kStem, kSynonym, kParaphrase, kMeteorStages };

// Words start … start + length − 1 of the reference correspond to the hypothesis's.
struct MeteorMatch {
  int start, length;
  int hypothesis_start, hypothesis_length;
  MeteorStage stage;
};

// Keeps its working memory from one call to the next; one for each thread. Memory grows with the sum of the lengths
// and the number of paraphrases found, time with their product times the beam.
class MeteorAligner {
 public:
  // Matches that share no word, by their start in the reference; valid until the next call.
  // Both sentences must come from one lexicon.
  std::span<const MeteorMatch> align(const MeteorSentence& hypothesis, const MeteorSentence& reference);

 private:
  struct Path {
    int weight;    // matched words of both sides, those of exact matches counting fully and others half, rounded down
    int chunks;    // finished ones
    int distance;  // of matched words, see extend()
    int next;      // the first reference word after the last match
    int last_end;  // the hypothesis word after the last match, −1 when the chunk is closed
    int trace;     // into trace_, −1: nothing chosen
  };
  struct Candidate {
    int weight, chunks, distance;
    int parent;  // rank of the path it continues
    int match;   // into here_; kCarry: as it is; kSkip: the word stays unmatched
  };
  struct Choice {
    MeteorMatch match;
    int previous;
  };

  void find_paraphrases();
  void add_paraphrase(const MeteorMatch& match) { paraphrases_[static_cast<size_t>(match.start)].push_back(match); }
  void find_matches(int start);
  void fix_certain_matches();
  void extend(int rank, int start);
  void offer(const Candidate& candidate);
  void advance(int start);
  void search();
  bool is_free(int rank, const MeteorMatch& match) const;

  const MeteorSentence* hypothesis_ = nullptr;
  const MeteorSentence* reference_ = nullptr;
  bool identical_ = false;
  size_t blocks_ = 0;                                    // 64-bit blocks of a hypothesis's used words
  std::vector<std::vector<MeteorMatch>> paraphrases_;    // by start
  std::vector<MeteorMatch> here_, stems_, synonyms_;     // all matches that start at one reference word
  std::vector<MeteorMatch> fixed_;                       // by start; length 0 where there is none
  std::vector<int> hypothesis_cover_, reference_cover_;  // matches that touch each word
  std::vector<Path> paths_, next_paths_;
  std::vector<uint64_t> used_, next_used_;  // blocks_ of each path: hypothesis words that chosen matches take
  std::vector<Candidate> candidates_;       // the best so far, best first
  std::vector<Choice> trace_;
  std::vector<MeteorMatch> result_;
};

}  // namespace readback::score
