#include "mini/exam_papers.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "base/error.h"

namespace lethe::mini {

namespace {

std::ifstream open(const std::string& path) {
  std::ifstream in(path);
  if (!in) throw LoadError("{}: cannot be read; tools/train/make_eval.py writes it", path);
  return in;
}

std::vector<std::string> read_lines(const std::string& path) {
  std::ifstream in = open(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(std::move(line));
  return lines;
}

std::vector<Json> read_rows(const std::string& path) {
  std::vector<Json> rows;
  for (const std::string& line : read_lines(path)) rows.push_back(parse_json(line));
  return rows;
}

std::string text(const Json& row, const char* key) {
  return row.at(key).get<std::string>();
}

}  // namespace

ExamPapers ExamPapers::load(const std::string& directory) {
  ExamPapers papers;
  for (const Json& row : read_rows(directory + "/definitions.jsonl")) {
    papers.definitions.push_back({text(row, "word"), text(row, "gloss")});
  }
  for (const Json& row : read_rows(directory + "/tools.jsonl")) {
    papers.tool_cases.push_back(
        {row.at("tools"), text(row, "question"), text(row, "name"), row.at("arguments")});
  }
  for (const Json& row : read_rows(directory + "/memory.jsonl")) {
    papers.memory_cases.push_back({row.at("messages"), text(row, "answer")});
  }
  papers.held_out = read_lines(directory + "/held_out.txt");
  std::ifstream in = open(directory + "/words.json");
  const Json words = parse_json(std::string(std::istreambuf_iterator<char>(in), {}));
  words.at("definition_questions").get_to(papers.definition_questions);
  words.at("names").get_to(papers.names);
  words.at("cities").get_to(papers.cities);
  words.at("adjectives").get_to(papers.adjectives);
  words.at("things").get_to(papers.things);
  words.at("places").get_to(papers.places);
  return papers;
}

}  // namespace lethe::mini
