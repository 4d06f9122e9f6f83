#include "readback/score/text/meteor/stemmer.h"

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

namespace readback::score {

namespace {

using View = std::u16string_view;

struct Rule {
  View suffix, replacement;
};

constexpr Rule kIrregular[] = {
    {u"skis", u"ski"},  {u"skies", u"sky"},     {u"dying", u"die"},  {u"lying", u"lie"},   {u"tying", u"tie"},
    {u"idly", u"idl"},  {u"gently", u"gentl"},  {u"ugly", u"ugli"},  {u"early", u"earli"}, {u"only", u"onli"},
    {u"sky", u"sky"},   {u"singly", u"singl"},  {u"news", u"news"},  {u"howe", u"howe"},   {u"atlas", u"atlas"},
    {u"bias", u"bias"}, {u"cosmos", u"cosmos"}, {u"andes", u"andes"}};
constexpr View kKeptAfterPlural[] = {u"inning",  u"outing",  u"canning", u"herring",
                                     u"earring", u"proceed", u"exceed",  u"succeed"};
constexpr View kLongPrefixes[] = {u"gener", u"commun", u"arsen"};

constexpr Rule kPossessives[] = {{u"'", u""}, {u"'s", u""}, {u"'s'", u""}};
constexpr Rule kPlurals[] = {{u"sses", u"ss"}, {u"ied", u""}, {u"ies", u""}, {u"s", u""}, {u"us", u""}, {u"ss", u""}};
constexpr Rule kPasts[] = {{u"eed", u"ee"}, {u"eedly", u"ee"}, {u"ed", u""},
                           {u"edly", u""},  {u"ing", u""},     {u"ingly", u""}};
constexpr Rule kDerivations[] = {{u"tional", u"tion"}, {u"enci", u"ence"},   {u"anci", u"ance"},   {u"abli", u"able"},
                                 {u"entli", u"ent"},   {u"izer", u"ize"},    {u"ization", u"ize"}, {u"ational", u"ate"},
                                 {u"ation", u"ate"},   {u"ator", u"ate"},    {u"alism", u"al"},    {u"aliti", u"al"},
                                 {u"alli", u"al"},     {u"fulness", u"ful"}, {u"ousli", u"ous"},   {u"ousness", u"ous"},
                                 {u"iveness", u"ive"}, {u"iviti", u"ive"},   {u"biliti", u"ble"},  {u"bli", u"ble"},
                                 {u"ogi", u"og"},      {u"fulli", u"ful"},   {u"lessli", u"less"}, {u"li", u""}};
constexpr Rule kEndings[] = {{u"tional", u"tion"}, {u"ational", u"ate"}, {u"alize", u"al"},
                             {u"icate", u"ic"},    {u"iciti", u"ic"},    {u"ical", u"ic"},
                             {u"ful", u""},        {u"ness", u""},       {u"ative", u""}};
constexpr Rule kLastEndings[] = {{u"al", u""},   {u"ance", u""}, {u"ence", u""}, {u"er", u""},    {u"ic", u""},
                                 {u"able", u""}, {u"ible", u""}, {u"ant", u""},  {u"ement", u""}, {u"ment", u""},
                                 {u"ent", u""},  {u"ism", u""},  {u"ate", u""},  {u"iti", u""},   {u"ous", u""},
                                 {u"ive", u""},  {u"ize", u""},  {u"ion", u""}};

bool among(char16_t c, View set) { return set.find(c) != View::npos; }
bool is_vowel(char16_t c) { return among(c, u"aeiouy"); }

class Stemmer {
 public:
  explicit Stemmer(std::u16string word) : word_(std::move(word)) {}

  std::u16string stem() {
    prepare();
    mark_regions();
    remove_plural();
    if (std::find(std::begin(kKeptAfterPlural), std::end(kKeptAfterPlural), word_) == std::end(kKeptAfterPlural)) {
      remove_past();
      turn_final_y();
      replace_derivation();
      replace_ending();
      remove_last_ending();
      remove_final_letter();
    }
    std::replace(word_.begin(), word_.end(), u'Y', u'y');
    return std::move(word_);
  }

 private:
  // A consonantal y becomes Y.
  void prepare() {
    if (word_[0] == u'\'') word_.erase(0, 1);
    if (word_[0] == u'y') word_[0] = u'Y';
    for (size_t i = 1; i < word_.size(); ++i) {
      if (word_[i] == u'y' && is_vowel(word_[i - 1])) word_[i] = u'Y';
    }
  }

  // Past the first vowel and the first consonant after it; the word's end when there is none.
  size_t region_after(size_t begin) const {
    const auto end = word_.end();
    const auto vowel = std::find_if(word_.begin() + static_cast<ptrdiff_t>(begin), end, is_vowel);
    const auto consonant = std::find_if_not(vowel, end, is_vowel);
    return consonant == end ? word_.size() : static_cast<size_t>(consonant - word_.begin()) + 1;
  }

  void mark_regions() {
    region1_ = 0;
    for (const View prefix : kLongPrefixes) {
      if (word_.starts_with(prefix)) region1_ = prefix.size();
    }
    if (region1_ == 0) region1_ = region_after(0);
    region2_ = region_after(region1_);
  }

  // The longest rule that fits the word's end; begin_ is then where its suffix begins.
  const Rule* find(std::span<const Rule> rules) {
    const Rule* best = nullptr;
    for (const Rule& rule : rules) {
      if (word_.ends_with(rule.suffix) && (!best || rule.suffix.size() > best->suffix.size())) best = &rule;
    }
    if (best) begin_ = word_.size() - best->suffix.size();
    return best;
  }

  void replace(View replacement) { word_.replace(begin_, View::npos, replacement); }
  bool in_region1() const { return begin_ >= region1_; }
  bool in_region2() const { return begin_ >= region2_; }
  bool has_vowel_before(size_t end) const {
    return std::any_of(word_.begin(), word_.begin() + static_cast<ptrdiff_t>(end), is_vowel);
  }

  // Whether the characters before `end` close a short syllable.
  bool is_short_before(size_t end) const {
    if (end >= 3 && !is_vowel(word_[end - 1]) && !among(word_[end - 1], u"wxY") && is_vowel(word_[end - 2]) &&
        !is_vowel(word_[end - 3])) {
      return true;
    }
    return end == 2 && !is_vowel(word_[1]) && is_vowel(word_[0]);
  }

  void remove_plural() {
    if (find(kPossessives)) replace(u"");
    const Rule* rule = find(kPlurals);
    if (!rule) return;
    if (rule->suffix == u"sses") {
      replace(u"ss");
    } else if (rule->suffix == u"ied" || rule->suffix == u"ies") {
      replace(begin_ >= 2 ? u"i" : u"ie");
    } else if (rule->suffix == u"s" && begin_ >= 1 && has_vowel_before(begin_ - 1)) {
      replace(u"");
    }
  }

  void remove_past() {
    const Rule* rule = find(kPasts);
    if (!rule) return;
    if (!rule->replacement.empty()) {
      if (in_region1()) replace(rule->replacement);
      return;
    }
    if (!has_vowel_before(begin_)) return;
    replace(u"");
    const size_t size = word_.size();
    if (word_.ends_with(u"at") || word_.ends_with(u"bl") || word_.ends_with(u"iz")) {
      word_ += u'e';
    } else if (size >= 2 && word_[size - 1] == word_[size - 2] && among(word_[size - 1], u"bdfgmnprt")) {
      word_.pop_back();
    } else if (size == region1_ && is_short_before(size)) {
      word_ += u'e';
    }
  }

  void turn_final_y() {
    const size_t size = word_.size();
    if (size > 2 && among(word_.back(), u"yY") && !is_vowel(word_[size - 2])) word_.back() = u'i';
  }

  void replace_derivation() {
    const Rule* rule = find(kDerivations);
    if (!rule || !in_region1()) return;
    if (rule->suffix == u"ogi" && (begin_ == 0 || word_[begin_ - 1] != u'l')) return;
    if (rule->suffix == u"li" && (begin_ == 0 || !among(word_[begin_ - 1], u"cdeghkmnrt"))) return;
    replace(rule->replacement);
  }

  void replace_ending() {
    const Rule* rule = find(kEndings);
    if (!rule || !in_region1() || (rule->suffix == u"ative" && !in_region2())) return;
    replace(rule->replacement);
  }

  void remove_last_ending() {
    const Rule* rule = find(kLastEndings);
    if (!rule || !in_region2()) return;
    if (rule->suffix == u"ion" && (begin_ == 0 || !among(word_[begin_ - 1], u"st"))) return;
    replace(u"");
  }

  void remove_final_letter() {
    if (word_.empty()) return;
    begin_ = word_.size() - 1;
    if (word_.back() == u'e') {
      if (in_region2() || (in_region1() && !is_short_before(begin_))) word_.pop_back();
    } else if (word_.back() == u'l' && in_region2() && begin_ > 0 && word_[begin_ - 1] == u'l') {
      word_.pop_back();
    }
  }

  std::u16string word_;
  size_t region1_ = 0, region2_ = 0, begin_ = 0;
};

}  // namespace

std::u16string stem_english(std::u16string word) {
  for (const Rule& rule : kIrregular) {
    if (word == rule.suffix) return std::u16string(rule.replacement);
  }
  if (word.size() < 3) return word;
  return Stemmer(std::move(word)).stem();
}

}  // namespace readback::score
