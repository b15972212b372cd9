using System.Runtime.CompilerServices;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Models.Tests;

public sealed class WordingTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [ModuleInitializer]
    internal static void BeEnglish() => UserLanguage.BeEnglish();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, string, string> Configs() => new()
    {
        { "{\n  \"model_type\": llama", "config.json is not valid JSON: line 2, column 17: 'l' is an invalid start of a value.",
            "config.json は正しい JSON ではありません: 2 行目の 17 文字目: 値があるべき所に 'l' があります。" },
        { "{\"a\": [1,]}", "config.json is not valid JSON: line 1, column 10: The JSON array contains a trailing comma at the end which is not supported in this mode.",
            "config.json は正しい JSON ではありません: 1 行目の 10 文字目: " },
        { "\n", "config.json is not valid JSON: it is empty.", "config.json は正しい JSON ではありません: 空です。" },
        { "[1]", "config.json holds a JSON list, not an object.", "config.json の JSON はリストで、オブジェクトではありません。" },
        { "{}", ": model_type is missing; fude knows llama, mistral, stablelm, stablelm_epoch and gpt2. Is this the config.json of a language model?.",
            ": model_type がありません。fude が対応しているのは llama、mistral、stablelm、stablelm_epoch、gpt2 です。言語モデルの config.json か確かめてください。" },
        { """{"model_type":"qwen2"}""",
            ": model_type is \"qwen2\", which fude does not support; it supports llama, mistral, stablelm, stablelm_epoch and gpt2.",
            ": model_type の値 \"qwen2\" には対応していません。fude が対応しているもの: llama、mistral、stablelm、stablelm_epoch、gpt2。" },
        { Changed("\"hidden_size\":48", "\"hidden_size\":\"48\""), ": hidden_size is \"48\"; expected a whole number.", ": hidden_size が \"48\" です。整数が必要です。" },
        { Changed("\"hidden_size\":48,", ""), ": hidden_size is missing; expected a whole number.", ": hidden_size がありません。整数が必要です。" },
        { Changed("\"num_hidden_layers\":2", "\"num_hidden_layers\":0"), ": num_hidden_layers is 0; expected a whole number from 1 to 4096.",
            ": num_hidden_layers が 0 です。1 から 4096 までの整数が必要です。" },
        { Changed("\"num_attention_heads\":6", "\"num_attention_heads\":7"), ": num_attention_heads is 7, which does not divide hidden_size 48.",
            ": num_attention_heads が 7 ですが、hidden_size の 48 を割り切れません。" },
        { Changed("\"vocab_size\"", "\"hidden_act\":\"relu\",\"vocab_size\""), ": hidden_act is \"relu\", which fude does not support; it supports \"silu\".",
            ": hidden_act の値 \"relu\" には対応していません。fude が対応しているもの: \"silu\"。" },
        { Changed("\"vocab_size\"", "\"rope_scaling\":{\"type\":\"yarn\"},\"vocab_size\""), ": rope_scaling.type is \"yarn\", which fude does not support; ",
            ": rope_scaling.type の値 \"yarn\" には対応していません。" },
        { Changed("\"vocab_size\"", "\"quantization_config\":{\"bits\":4},\"vocab_size\""),
            ": quantization_config is {\"bits\":4}, which fude does not support; it supports unquantised float32, float16 and bfloat16 weights.",
            ": quantization_config の値 {\"bits\":4} には対応していません。fude が対応しているもの: 量子化されていない float32、float16、bfloat16 の重み。" },
    };

    private static string Changed(string from, string to) => TinyModels.Configs["llama"].Replace(from, to, StringComparison.Ordinal);

    [Theory, MemberData(nameof(Configs))]
    public void A_configuration_that_is_wrong_is_told_in_both_languages(string json, string english, string japanese)
    {
        string file = _folder.Write("config.json", json);
        UserLanguage.Fails(() => ModelFolder.Open(_folder.Path), english, japanese);
        UserLanguage.Fails(() => ModelFolder.Open(_folder.Path), file, file);
    }

    [Fact]
    public void What_is_no_model_is_told_in_both_languages()
    {
        string gone = _folder["gone"], other = _folder.Write("model.safetensors", "x");
        UserLanguage.Fails(() => ModelFolder.Open(gone), $"{gone}: there is no such folder.", $"{gone}: フォルダーが見つかりません。");
        UserLanguage.Fails(() => ModelFolder.Open(other), $"{other} is a file, but none in GGUF format; ", $"{other} はファイルですが、GGUF 形式ではありません。");
        UserLanguage.Fails(() => ModelFolder.Open(_folder.Path), $"{_folder.Path} has no config.json: it is not a model's folder in Hugging Face's layout.",
            $"{_folder.Path} に config.json がありません。Hugging Face の構成のモデルフォルダーではありません。");
        _folder.Write("adapter_config.json", "{}");
        UserLanguage.Fails(() => ModelFolder.Open(_folder.Path), "layout. It holds an adapter: give the folder of the base model, and this one as the adapter.",
            "ではありません。これはアダプターです。ベースモデルのフォルダーを指定し、このフォルダーはアダプターとして指定してください。");
        UserLanguage.Fails(() => ModelFolder.Open(""), "The model's path is empty: give the folder of a model.", "モデルのパスが空です。モデルのフォルダーを指定してください。");
    }

    [Fact]
    public void Weights_of_another_model_are_told_in_both_languages()
    {
        string source = GoldenForward.FolderOf("llama-mha");
        foreach (string name in (string[])["model.safetensors", "config.json"])
            if (File.Exists(Path.Combine(source, name))) File.Copy(Path.Combine(source, name), _folder[name]);
        string config = File.ReadAllText(_folder["config.json"]);
        _folder.Write("config.json", config.Replace("\"vocab_size\": 384", "\"vocab_size\": 385", StringComparison.Ordinal));
        UserLanguage.Fails(() => ModelFolder.Open(_folder.Path).LoadModel(),
            $"{_folder["model.safetensors"]}: tensor 'model.embed_tokens.weight' is [384, ", $"{_folder["model.safetensors"]}: テンソル 'model.embed_tokens.weight' の形は [384, ");
        SafeTensors.Write(_folder["model.safetensors"], [.. Tensors(Path.Combine(source, "model.safetensors")), NewTensor.Of("extra.weight", [2], [1, 2])]);
        _folder.Write("config.json", config);
        UserLanguage.Fails(() => ModelFolder.Open(_folder.Path).LoadModel(),
            $"{_folder["model.safetensors"]}: tensor 'extra.weight' [2] belongs to no part of the llama model that {_folder["config.json"]} describes. ",
            $"{_folder["model.safetensors"]}: テンソル 'extra.weight' [2] は、{_folder["config.json"]} の llama モデルのどこにも属しません。");

        static IEnumerable<NewTensor> Tensors(string file)
        {
            using SafeTensors tensors = SafeTensors.Open(file);
            return [.. tensors.Tensors.Values.Select(tensor => NewTensor.Of(tensor.Name, tensor.Shape, tensor.ToFloats()))];
        }
    }

    [Fact]
    public void A_GGUF_file_of_another_architecture_is_told_in_both_languages()
    {
        string file = _folder["model.gguf"];
        Gguf.Write(file, [new("general.architecture", "qwen2")], []);
        UserLanguage.Fails(() => ModelFolder.Open(file), $"{file}: is of the architecture 'qwen2'; fude computes llama (Mistral too), stablelm and gpt2.",
            $"{file}: アーキテクチャー 'qwen2' には対応していません。fude が対応しているのは llama（Mistral を含む）、stablelm、gpt2 です。");
        Gguf.Write(file, [new("general.architecture", "llama")], []);
        UserLanguage.Fails(() => ModelFolder.Open(file), $"{file}: the metadata has no llama.embedding_length.", $"{file}: メタデータに llama.embedding_length がありません。");
    }

    [Theory]
    [InlineData("""{"peft_type":"IA3"}""", "peft_type is \"IA3\", which fude does not support; it supports \"LORA\".",
        "peft_type の値 \"IA3\" には対応していません。fude が対応しているもの: \"LORA\"。")]
    [InlineData("{}", "peft_type is missing, which fude does not support; it supports \"LORA\".", "peft_type がありません。fude が対応しているもの: \"LORA\"。")]
    [InlineData("""{"peft_type":"LORA","use_dora":true,"target_modules":["q_proj"]}""",
        "use_dora is true, which fude does not support; it supports plain LoRA (use_dora false).",
        "use_dora の値 true には対応していません。fude が対応しているもの: 通常の LoRA（use_dora が false）。")]
    [InlineData("""{"peft_type":"LORA","r":0,"target_modules":["q_proj"]}""", "r is 0; expected a whole number from 1 to 1048576.", "r が 0 です。1 から 1048576 までの整数が必要です。")]
    [InlineData("""{"peft_type":"LORA","target_modules":"("}""", "target_modules is not a regular expression: ", "target_modules は正規表現として読めません: ")]
    public void An_adapter_that_fude_does_not_know_is_told_in_both_languages(string json, string english, string japanese)
    {
        UserLanguage.Fails(() => LoraAdapter.Open(_folder.Path), $"{_folder.Path} has no adapter_config.json: it is not the folder of a PEFT adapter.",
            $"{_folder.Path} に adapter_config.json がありません。PEFT のアダプターのフォルダーではありません。");
        string file = _folder.Write("adapter_config.json", json);
        _folder.Write("adapter_model.safetensors", "never read");
        UserLanguage.Fails(() => LoraAdapter.Open(_folder.Path), $"{file}: {english}", $"{file}: {japanese}");
    }

    [Fact]
    public void Options_out_of_their_range_are_told_in_both_languages()
    {
        using LanguageModel model = TinyModels.Create("mistral");
        using CpuOps ops = new(1);
        UserLanguage.Fails(() => Perplexity.Measure(model, ops, new int[] { 1, 2, 3 }, 1000, 1), "A window of 1000 tokens is not from 2 to the model's context of 512.",
            "窓の長さ 1000 トークンが範囲外です。2 からモデルの文脈長 512 までで指定してください。");
        UserLanguage.Fails(() => Perplexity.Measure(model, ops, new int[] { 1, 2, 999 }, 100, 1), "Token id 999 is not in the model's vocabulary: ids go from 0 to 127.",
            "トークン ID 999 はモデルの語彙にありません。ID は 0 から 127 までです。");
        UserLanguage.Fails(() => model.Run(ops, new Batch([1], [600], [new Sequence(0, 1)], [0])), "Position 600 is beyond the model's context of 512 tokens: shorten the text.",
            "位置 600 はモデルの文脈長 512 トークンを超えています。テキストを短くしてください。");
        UserLanguage.Fails(() => QuantizationMixes.Parse("q9"), "'q9' is no format for files: it is one of f32, f16, ", "'q9' というファイルの形式はありません。f32、f16、");
        UserLanguage.Fails(() => PromptFormat.Named("vicuna"), "There is no prompt format 'vicuna'; there are plain, llm-jp-base-v1, ",
            "'vicuna' というプロンプト書式はありません。あるのは plain、llm-jp-base-v1、");
        UserLanguage.Fails(() => PromptFormat.Plain.Write("a", system: "b"), "The prompt format plain has no place for a system text; llm-jp-instruct-v1.1, ",
            "プロンプト書式 plain には役割の文（system）を入れる場所がありません。あるのは llm-jp-instruct-v1.1、");
    }

    [Theory]
    [InlineData("{% if x", "the template ends inside this {%: %} is missing.", "この {% の中でテンプレートが終わっています。%} がありません。")]
    [InlineData("{{ 1 2 }}", "expected }}, found '2'.", "}} が必要ですが、'2' があります。")]
    [InlineData("{% if %}", "expected a value, found the end of the tag, %}.", "値が必要ですが、タグの終わりの %} があります。")]
    [InlineData("a\n{% for x in y %}", "the template ends before {% endfor %}: {% for %} at line 2, column 4 is not closed.",
        "2 行目の 4 文字目の {% for %} が閉じられず、{% endfor %} の前にテンプレートが終わっています。")]
    [InlineData("{% macro f() %}", "the statement {% macro %} is not supported in a chat template; if, elif, else, for, set and generation are.",
        "{% macro %} はチャットテンプレートでは使えません。使えるのは if、elif、else、for、set、generation です。")]
    [InlineData("{{ 1|nonsense }}", "there is no filter 'nonsense' here; there are capitalize, count, ", "フィルター 'nonsense' はありません。使えるのは capitalize、count、")]
    [InlineData("{{ 1 + 'a' }}", "a whole number + a string has no value; ~ joins texts of any kind.", "整数 + 文字列は計算できません。~ ならどの型もテキストとしてつなげます。")]
    [InlineData("{{ nobody.name }}", "'nobody' is undefined and has no attribute 'name'.", "'nobody' は未定義なので、属性 'name' がありません。")]
    [InlineData("{{ ('a' if false).name }}", "'the value of an if without else' is undefined and has no attribute 'name'.", "'else のない if の値' は未定義なので、属性 'name' がありません。")]
    [InlineData("{{ 'a'.format(1) }}", "a string has no method 'format' here; there are strip, lstrip, ", "文字列に 'format' というメソッドはありません。使えるもの: strip、lstrip、")]
    [InlineData("{{ 'a'|replace(1, 2) }}", "the filter replace wants old to be a string.", "フィルター replace の old は文字列でなければなりません。")]
    [InlineData("{{ range(1, 2, 0) }}", "range's step is not 0.", "range の step を 0 にはできません。")]
    [InlineData("{{ raise_exception('役割が違う') }}", "the template refuses the conversation: 役割が違う", "テンプレートがこの会話を拒否しました: 役割が違う")]
    public void A_chat_template_that_fails_is_told_in_both_languages(string template, string english, string japanese) =>
        UserLanguage.Fails(() => ChatTemplate.Parse(template, "chat_template.jinja").Render([new("user", "猫")]), english, japanese);

    [Fact]
    public void A_place_in_a_chat_template_is_told_in_both_languages() =>
        UserLanguage.Fails(() => ChatTemplate.Parse("猫\n{{ 1 ** 2 }}", "chat_template.jinja"), "chat_template.jinja, line 2, column 6: the operator ** is not supported; ",
            "chat_template.jinja（2 行目の 6 文字目）: 演算子 ** には対応していません。");

    [Fact]
    public void Prompt_formats_and_what_speaks_for_them_are_told_in_both_languages()
    {
        foreach (PromptFormat format in PromptFormat.All)
        {
            Assert.DoesNotContain("用", UserLanguage.In("en", () => format.Description).Replace("回答", "", StringComparison.Ordinal), StringComparison.Ordinal);
            Assert.Contains("用", UserLanguage.In("ja", () => format.Description), StringComparison.Ordinal);
        }
        ModelFolder folder = ModelFolder.Open(GoldenForward.FolderOf("llama-mha"));
        Assert.Equal("Neither the name 'llama-mha' nor config.json says how its instructions were written.", UserLanguage.In("en", () => PromptFormat.Guess(folder)).Reason);
        Assert.Equal("'llama-mha' という名前からも config.json からも、指示の書式が分かりません。", UserLanguage.In("ja", () => PromptFormat.Guess(folder)).Reason);
    }
}
