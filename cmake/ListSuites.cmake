# After PROGRAM is linked: ENTRIES gets a ctest entry NAME.SUITE for each of its suites, so that one that crashes or
# hangs hides no other. One process a test would start libtorch hundreds of times.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND "${PROGRAM}" --gtest_list_tests OUTPUT_VARIABLE list COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "(^|\n)[^ \n]+\\." suites "${list}")
if(NOT suites)
  message(FATAL_ERROR "${PROGRAM}: expected tests, got none")
endif()
set(text "")
foreach(suite ${suites})
  string(REGEX REPLACE "^\n?(.*)\\.$" "\\1" suite "${suite}")
  if(suite MATCHES "(^|/)DISABLED_")
    continue()
  endif()
  string(REPLACE "/" "-" file "${NAME}.${suite}")
  set(labels ${NAME})
  set(timeout 300)
  if(suite IN_LIST SLOW)
    list(APPEND labels slow)
    set(timeout 1200)
  endif()
  string(APPEND text "add_test([[${NAME}.${suite}]] [[${PROGRAM}]] [[--gtest_filter=${suite}.*]] "
    "[[--gtest_output=xml:${RESULTS}/${file}.xml]])\n"
    "set_tests_properties([[${NAME}.${suite}]] PROPERTIES WORKING_DIRECTORY [[${FOLDER}]] LABELS [[${labels}]] "
    "TIMEOUT ${timeout})\n")
endforeach()
file(WRITE "${ENTRIES}" "${text}")
