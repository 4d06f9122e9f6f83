// Regular expressions of tokenizer.json, with the classes that the tokenizers library's Oniguruma has.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace readback::text {

// A part of a text by character positions, and whether it matched.
struct Stretch {
  size_t begin = 0;
  size_t end = 0;
  bool matches = false;
};

class Expression {
 public:
  // Of backslashes it knows \p{L}, \p{N}, \s, \S, \d-free escapes of punctuation, \r, \n and \t: these mean the same in
  // every version of Unicode that ICU may have. Errors: CheckpointError naming `where` for others and for bad syntax.
  Expression(std::string_view pattern, const std::string& where);
  ~Expression();
  Expression(const Expression&) = delete;
  Expression& operator=(const Expression&) = delete;

  // Matches and what lies between them, together all of the text. Errors: DataError when matching needs too much
  // memory.
  std::vector<Stretch> split(std::u32string_view text) const;

 private:
  struct Compiled;
  std::unique_ptr<const Compiled> compiled_;
};

}  // namespace readback::text
