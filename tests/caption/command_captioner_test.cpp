#include "readback/caption/command_captioner.h"

#include <gtest/gtest.h>

#include "readback/base/error.h"
#include "readback/caption/open.h"

namespace readback::caption {
namespace {

const std::string kProgram = R"(command:python3 -c "
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    a = {'id': q['id']}
    if 'role' in q:
        a |= {'name': q['role'] + ' of the test', 'honours_seeds': True, 'examples': True, 'log_probabilities': True,
              'defaults': {'prompt': 'What is it?', 'max_new_tokens': 9}}
    elif q['sample'] == 'bad':
        a['error'] = 'it is too dark'
    elif q['sample'] == 'few':
        a['captions'] = []
    else:
        o = q['options']
        a['captions'] = [{'text': ' '.join(map(str, [o['prompt'], o['max_new_tokens'], q['image'][:5],
                          len(q['examples']), s])), 'log_probability': -1.5} for s in q['seeds']]
    print(json.dumps(a), flush=True)
")";

TEST(CommandCaptioner, AProgramCaptions) {
  const auto captioner = open(kProgram, Machine());
  EXPECT_EQ(captioner->description(), "captioner of the test");
  EXPECT_TRUE(captioner->capabilities().honours_seeds && captioner->capabilities().examples);
  EXPECT_EQ(captioner->defaults().max_new_tokens, 9);
  std::vector<Request> requests;
  for (const char* sample : {"good", "bad", "few", "fine"})
    requests.push_back({.image = image::Image(4, 4), .sample = sample});
  requests[3].prompt = "And this?";
  requests[3].examples = {image::Image(2, 2), "a thing"};
  const auto results = captioner->caption(requests, {.num_captions = 2, .do_sample = true, .seed = 1});
  ASSERT_TRUE(results[0]) << results[0].failure();
  const Caption& first = results[0].value()[0];
  EXPECT_EQ(first.text.find("What is it? 9 iVBOR 0 "), 0) << first.text;
  EXPECT_EQ(first.log_probability, -1.5);
  EXPECT_NE(first.text, results[0].value()[1].text);  // seeds differ
  EXPECT_EQ(results[1].failure(), "it is too dark");
  EXPECT_NE(results[2].failure().find("2 captions"), std::string::npos) << results[2].failure();
  EXPECT_EQ(results[3].value()[0].text.find("And this? 9 iVBOR 2 "), 0) << results[3].value()[0].text;
}

TEST(CommandCaptioner, AProgramThatSaysNothingOfItselfIsRefused) {
  EXPECT_THROW(CommandCaptioner("command:echo {\\\"id\\\":0}", 60), NetworkError);
}

}  // namespace
}  // namespace readback::caption
