// SentencePiece's unigram model (https://arxiv.org/abs/1804.10959): of all ways to cut a text into pieces, the one with
// the largest sum of scores.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace readback::text {

class Unigram {
 public:
  // The id of a piece is its place; of a piece that is there twice the later counts. `unknown` is such an id. With
  // `byte_fallback` an unknown stretch is spelled in "<0x00>" to "<0xFF>" where the pieces have all of its bytes.
  Unigram(const std::vector<std::pair<std::string, double>>& pieces, int64_t unknown, bool byte_fallback);

  // Appends the ids of well-formed UTF-8. Characters without a piece that follow each other are one unknown token; each
  // costs the lowest score less 10.
  void encode(std::string_view text, std::vector<int64_t>& ids) const;

 private:
  struct Node {
    int64_t id = -1;  // of the piece that ends here
    double score = 0;
  };
  int64_t child(int64_t node, char byte) const;  // -1 when there is none
  int64_t find(std::string_view piece) const;    // -1 when there is none
  void append(std::string_view stretch, std::vector<int64_t>& ids) const;

  std::vector<Node> nodes_;                         // a trie over bytes; 0 is its root
  std::unordered_map<uint64_t, int64_t> children_;  // node << 8 | byte → node
  std::vector<int64_t> bytes_;                      // ids of the bytes, empty without fallback
  int64_t unknown_;
  double unknown_score_;
};

}  // namespace readback::text
