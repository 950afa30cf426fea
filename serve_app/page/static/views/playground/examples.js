// Prompts to begin with.
const WEATHER = [{type: "function", function: {name: "get_weather", description: "The weather in a city now.", parameters: {type: "object", properties: {city: {type: "string"}}, required: ["city"]}}}];
const CITY = {type: "json_schema", json_schema: {name: "city", schema: {type: "object", properties: {city: {type: "string"}, country: {type: "string"}, inhabitants: {type: "integer"}}, required: ["city", "country", "inhabitants"], additionalProperties: false}}};

export const EXAMPLES = [
  {title: "A fact", about: "small models know it", prompt: "What is the capital of France? Answer in one short sentence."},
  {title: "A sum", about: "they may disagree", prompt: "A train leaves at 9:40 and arrives at 13:05. How many minutes does the journey take? Give the number alone at the end."},
  {title: "Some code", about: "Markdown and highlighting", prompt: "Write a Python function that returns the n-th Fibonacci number without recursion."},
  {title: "An opinion", about: "many right answers", prompt: "Which three books should everybody read once? One line each."},
  {title: "A tool", about: "calls are compared, too", prompt: "What is the weather in Lisbon?", tools: JSON.stringify(WEATHER, null, 2)},
  {title: "JSON", about: "an answer in a schema", prompt: "Name the largest city of Japan.", format: JSON.stringify(CITY, null, 2)},
];
