using System.Text.Json;
using System.Text.Json.Nodes;
using Fude.TestData;
using Xunit;

namespace Fude.Models.Tests;

public sealed class ChatTemplateTests
{
    private const string Llama2 =
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}" +
        "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}" +
        "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}" +
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}" +
        "{% if loop.index0 == 0 and system_message != false %}" +
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}" +
        "{% else %}{% set content = message['content'] %}{% endif %}" +
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}" +
        "{% elif message['role'] == 'system' %}{{ '<<SYS>>\\n' + content.strip() + '\\n<</SYS>>\\n\\n' }}" +
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";

    private const string Llama3 =
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + " +
        "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}" +
        "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";

    private const string Mistral =
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}" +
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}" +
        "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}" +
        "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}" +
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}";

    private const string ChatMl =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}" +
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private const string LlmJp =
        "{{bos_token}}{% for message in messages %}{% if message['role'] == 'user' %}{{ '\\n\\n### 指示:\\n' + message['content'] }}" +
        "{% elif message['role'] == 'system' %}{{ '以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。' }}" +
        "{% elif message['role'] == 'assistant' %}{{ '\\n\\n### 応答:\\n' + message['content'] + eos_token }}{% endif %}" +
        "{% if loop.last and add_generation_prompt %}{{ '\\n\\n### 応答:\\n' }}{% endif %}{% endfor %}";

    private const string Gemma =
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" +
        "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}" +
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}" +
        "{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}" +
        "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}" +
        "{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}";

    private static readonly ChatTurn[] Talk = [new("user", " 名前は？"), new("assistant", "猫です。\n"), new("user", "年は？")];

    private static readonly ChatTurn[] WithSystem = [new("system", "短く。"), .. Talk];

    private static string Render(string template, params ChatTurn[] messages) =>
        ChatTemplate.Parse(template, "t.jinja").Render(messages, addGenerationPrompt: true, "<s>", "</s>");

    [Fact]
    public void Llama_2_s_template_writes_the_golden_texts()
    {
        string? file = TestFolders.FindGolden("tokenizers/llama2/chat_template.jsonl");
        Assert.SkipWhen(file is null, "The chat template's goldens are in shared beside the checkout only.");
        foreach (string line in File.ReadLines(file))
        {
            using JsonDocument golden = JsonDocument.Parse(line);
            ChatTurn[] messages = [.. golden.RootElement.GetProperty("messages").EnumerateArray()
                .Select(turn => new ChatTurn(turn.GetProperty("role").GetString()!, turn.GetProperty("content").GetString()!))];
            Assert.Equal(golden.RootElement.GetProperty("text").GetString(), Render(Llama2, messages));
        }
    }

    [Fact]
    public void Published_templates_write_what_their_models_were_trained_with()
    {
        Assert.Equal("<s>[INST] <<SYS>>\n短く。\n<</SYS>>\n\n 名前は？ [/INST] 猫です。 </s><s>[INST] 年は？ [/INST]", Render(Llama2, WithSystem));
        Assert.Equal(
            "<s><|start_header_id|>system<|end_header_id|>\n\n短く。<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n名前は？<|eot_id|>" +
            "<|start_header_id|>assistant<|end_header_id|>\n\n猫です。<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n年は？<|eot_id|>" +
            "<|start_header_id|>assistant<|end_header_id|>\n\n", Render(Llama3, WithSystem));
        Assert.Equal("<s>[INST]  名前は？ [/INST]猫です。\n</s>[INST] 年は？ [/INST]", Render(Mistral, Talk));
        Assert.Equal(
            "<|im_start|>system\n短く。<|im_end|>\n<|im_start|>user\n 名前は？<|im_end|>\n<|im_start|>assistant\n猫です。\n<|im_end|>\n" +
            "<|im_start|>user\n年は？<|im_end|>\n<|im_start|>assistant\n", Render(ChatMl, WithSystem));
        Assert.Equal(
            "<s>以下は、タスクを説明する指示です。要求を適切に満たす応答を書きなさい。\n\n### 指示:\n 名前は？\n\n### 応答:\n猫です。\n</s>" +
            "\n\n### 指示:\n年は？\n\n### 応答:\n", Render(LlmJp, WithSystem));
        Assert.Equal(
            "<s><start_of_turn>user\n名前は？<end_of_turn>\n<start_of_turn>model\n猫です。<end_of_turn>\n<start_of_turn>user\n年は？<end_of_turn>\n" +
            "<start_of_turn>model\n", Render(Gemma, Talk));
    }

    [Fact]
    public void What_a_template_refuses_is_told_in_its_own_words()
    {
        Assert.Contains("System role not supported", Assert.Throws<ArgumentException>(() => Render(Gemma, WithSystem)).Message, StringComparison.Ordinal);
        string message = Assert.Throws<ArgumentException>(() => Render(Mistral, Talk[1])).Message;
        Assert.Contains("t.jinja, line 1, column ", message, StringComparison.Ordinal);
        Assert.Contains("must alternate", message, StringComparison.Ordinal);
    }

    // The expected texts are jinja2 3.1's, with trim_blocks and lstrip_blocks.
    [Theory]
    [InlineData("a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc")]
    [InlineData("a \n {%- if true -%} \n b {%+ endif +%}\nc\n\n", "ab \nc\n")]
    [InlineData("a  {{- 1 -}}  b\n  {{ 2 }}\n", "a1b\n  2")]
    [InlineData("  {# no\n #}\n  x{# y #}\nz", "  xz")]
    [InlineData("a\r\n{% if 1 %}\r\nb{% endif %}", "a\nb")]
    [InlineData("{% for i in range(3) %}{{ loop.index0 }}{{ loop.first }}{% if not loop.last %},{% endif %}{% endfor %}", "0True,1False,2False")]
    [InlineData("{% for i in [1, 2, 3, 4] if i is even %}{{ i }}/{{ loop.length }} {% else %}x{% endfor %}", "2/2 4/2 ")]
    [InlineData("{% for i in [] %}a{% else %}none{% endfor %}", "none")]
    [InlineData("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1")]
    [InlineData("{% set n = namespace(x=1) %}{% for i in [1, 2] %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "4")]
    [InlineData("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 4 / 2 }} {{ 2 * 3 + 1 }} {{ 1 ~ 'a' ~ none }}", "3 -4 2 3.5 2.0 7 1aNone")]
    [InlineData("{{ 'abcd'[1:3] }}{{ 'abcd'[::-1] }}{{ 'abcd'[-1] }}{{ [1, 2, 3][-2:] }}{{ '𠮷野家'[1:] }}", "bcdcbad[2, 3]野家")]
    [InlineData("{{ 'a' in 'cat' }} {{ 2 not in [1] }} {{ 'k' in {'k': 1} }} {{ 1 < 2 < 3 }} {{ 1 == true }} {{ not 1 == 2 }}", "True True True True True True")]
    [InlineData("{{ 'x' if false else 'y' }}{{ 'x' if false }}{{ missing }}{{ missing or 'z' }}", "yz")]
    [InlineData("{{ missing is defined }} {{ none is none }} {{ 'a' is string }} {{ {} is mapping }} {{ 3 is odd }} {{ missing is not defined }}", "False True True True True True")]
    [InlineData("{{ ' a '|trim|upper }}{{ missing|default('d') }}{{ [1, 2]|join('-') }}{{ 'aa'|replace('a', 'b') }}{{ '7'|int + 1 }}{{ [4, 5]|first }}{{ 'é𠮷'|length }}", "Ad1-2bb842")]
    [InlineData("{{ {'a': [1, 2.5, none, true], 'b': '\"日本\\n'} | tojson }}", "{\"a\": [1, 2.5, null, true], \"b\": \"\\\"日本\\n\"}")]
    [InlineData("{{ {'a': [1]} | tojson(indent=2) }}", "{\n  \"a\": [\n    1\n  ]\n}")]
    [InlineData("{{ ['a', \"b'c\", 1.0, true, none, (1,)] }} {{ {'k': 'v'} }}", "['a', \"b'c\", 1.0, True, None, (1,)] {'k': 'v'}")]
    [InlineData("{{ 'a b  c'.split() }}{{ 'a,b,c'.split(',', 1)[-1] }}{{ 'one two'.title() }}{{ 'xxa'.lstrip('x') }}{{ 'ab'.startswith('a') }}", "['a', 'b', 'c']b,cOne TwoaTrue")]
    [InlineData("{{ ' a b  c '.split(none, 1) }}{{ \"it's a-b (c)\" | title }}{{ \"it's a-b (c)\".title() }}", "['a', 'b  c ']It's A-B (C)It'S A-B (C)")]
    [InlineData("a\u2028b\fc\rd{% if true %}\u0085{% endif %}", "a\u2028b\fc\nd\u0085")]
    [InlineData("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}{{ {'a': 1}.get('b', 3) }}", "a=1;b=2;3")]
    [InlineData("{{ 'a' 'b' + '\\u3042\\x41\\'\\d' }}{{ 'a' + ' b ' | trim }}", "abあA'\\dab")]
    [InlineData("{{ {'a': {'b': 1}}}}{{ {'a': {'b': 1}}.a.b}}", "{'a': {'b': 1}}1")]
    [InlineData("{% if false %}1{% elif 0 %}2{% else %}3{% endif %}{% if messages | selectattr('role', 'equalto', 'x') | list %}4{% endif %}", "3")]
    [InlineData("{% for m in [1, 2] %}a{% generation %}\n{{ m }}{% endgeneration %}\n{% endfor %}", "a1a2")]
    public void Expressions_and_whitespace_are_as_jinja_has_them(string template, string expected) => Assert.Equal(expected, Render(template, Talk));

    [Theory]
    [InlineData("a\n{{ x | shout }}", "line 2, column 8", "shout")]
    [InlineData("{% macro f() %}{% endmacro %}", "line 1, column 4", "macro")]
    [InlineData("\n\n  {% import 'x' as y %}", "line 3, column 6", "import")]
    [InlineData("{% include 'x' %}", "line 1, column 4", "include")]
    [InlineData("{{ x is prime }}", "line 1, column 9", "prime")]
    [InlineData("{{ 2 ** 3 }}", "line 1, column 6", "**")]
    [InlineData("{{ strftime_now('%Y') }}", "line 1, column 16", "strftime_now")]
    [InlineData("{{ 'a'.zfill(3) }}", "line 1, column 13", "zfill")]
    public void What_is_outside_the_subset_is_an_error_with_line_and_column(string template, string place, string named) =>
        Fails.With<NotSupportedException>(() => Render(template, Talk), "t.jinja, " + place, named);

    [Theory]
    [InlineData("x\n{% if true %}\nabc", "line 3, column 4", "line 2, column 4")]
    [InlineData("{% for a in b %}{% else %}", "line 1, column 27", "endfor")]
    [InlineData("{{ 'a", "line 1, column 4", "string")]
    [InlineData("{{ a", "line 1, column 1", "}}")]
    [InlineData("{{ (1 + }}", "line 1, column 9", "}}")]
    [InlineData("{# x", "line 1, column 1", "#}")]
    [InlineData("{% endif %}", "line 1, column 4", "endif")]
    [InlineData("{{ a ? b }}", "line 1, column 6", "?")]
    [InlineData("{{ a.b.c }}", "line 1, column 5", "'a' is undefined")]
    [InlineData("{{ 'a' + 1 }}", "line 1, column 8", "a whole number")]
    [InlineData("{{ 1 // 0 }}", "line 1, column 6", "zero")]
    [InlineData("{{ 9223372036854775807 + 1 }}", "line 1, column 24", "64 bits")]
    [InlineData("{{ 'a' | trim('b', 'c') }}", "line 1, column 10", "more arguments")]
    public void Mistakes_are_errors_with_line_and_column(string template, string place, string named) =>
        Fails.With<InvalidDataException>(() => Render(template, Talk), "t.jinja, " + place, named);

    [Theory]
    [InlineData("{% for i in range(1000000000000) %}{% endfor %}")]
    [InlineData("{% for i in range(5000) %}{% for j in range(5000) %}{% endfor %}{% endfor %}")]
    [InlineData("{% set n = namespace(x='aaaaaaaa') %}{% for i in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor %}")]
    [InlineData("{% set n = namespace(x=[1]) %}{% for i in range(100) %}{% set n.x = n.x + n.x %}{% endfor %}")]
    [InlineData("{% set n = namespace(x=[1]) %}{% for i in range(1000) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}")]
    [InlineData("{% set n = namespace(x=[1]) %}{% for i in range(50) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x == n.x }}{{ n.x | tojson }}")]
    [InlineData("{{ 'a' * 9000000000000000000 }}")]
    [InlineData("{% set a = 'a' * 9000000 %}{{ a.replace('a', a) }}")]
    [InlineData("{% set a = 'a' * 9000000 %}{{ ('a' * 4000000 ~ 'b') in a }}")]
    [InlineData("{% for i in range(100) %}{{ 'a' * 1000000 }}{% endfor %}")]
    public void A_template_that_would_not_end_or_fill_the_memory_is_an_error(string template) =>
        Fails.With<InvalidDataException>(() => Render(template, Talk), "t.jinja, line 1, column ");

    [Fact]
    public void Depth_is_bounded_when_it_is_read_and_when_it_is_run()
    {
        foreach (string deep in (string[])["(", "[", "-", "not ", "{'a':", "a["])
            Fails.With<InvalidDataException>(() => Render("{{ " + string.Concat(Enumerable.Repeat(deep, 100_000)) + " 1 " + new string('}', 100_002), Talk), "deep");
        Fails.With<InvalidDataException>(() => Render(string.Concat(Enumerable.Repeat("{% if 1 %}", 100_000)), Talk), "deep");
        Fails.With<InvalidDataException>(() => Render("{{ 1" + string.Concat(Enumerable.Repeat("+1", 100_000)) + " }}", Talk), "levels");
        Fails.With<InvalidDataException>(() => ChatTemplate.Parse(new string('a', (1 << 20) + 1), "t.jinja"), "t.jinja");
    }

    [Fact]
    public void A_folder_s_template_is_its_prompt_format()
    {
        using TemporaryFolder folder = new();
        File.Copy(Path.Combine(GoldenForward.FolderOf("llama-mha"), "config.json"), folder["config.json"]);
        ModelFolder model = ModelFolder.Open(folder.Path);
        Assert.Throws<ArgumentException>(() => PromptFormat.Named("chat-template", model));

        JsonObject config = new() { ["bos_token"] = "<s>", ["eos_token"] = new JsonObject { ["content"] = "</s>" }, ["chat_template"] = Llama2 };
        folder.Write("tokenizer_config.json", config.ToJsonString());
        PromptFormatGuess guess = PromptFormat.Guess(model);
        Assert.Equal(("chat-template", true), (guess.Format.Name, guess.IsSure));
        Assert.Equal(PromptFormat.Llama2Chat.Write("年は？", system: "短く。", history: [new("名前は？", "猫です。")]),
            guess.Format.Write("年は？", system: "短く。", history: [new("名前は？", "猫です。")]));

        config["chat_template"] = new JsonArray(
            new JsonObject { ["name"] = "rag", ["template"] = "x" }, new JsonObject { ["name"] = "default", ["template"] = ChatMl });
        folder.Write("tokenizer_config.json", config.ToJsonString());
        Assert.Equal(new Prompt("<|im_start|>user\n年は？<|im_end|>\n<|im_start|>assistant\n", false), PromptFormat.Named("chat-template", model).Write("年は？"));

        folder.Write("chat_template.jinja", "{{ bos_token }}{{ messages[0].content }}\n");
        Assert.Equal(new Prompt("<s>年は？", false), PromptFormat.Guess(model).Format.Write("年は？"));
        Assert.Equal(PromptFormat.Elyza, PromptFormat.Named("elyza-llama2-instruct", model));
    }
}
