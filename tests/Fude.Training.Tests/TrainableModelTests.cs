using System.Text;
using Fude.Models;
using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>Each family end to end: the gradient against the loss it is of, and the same bits whatever computes it; weights written and read.</summary>
public sealed class TrainableModelTests : IDisposable
{
    private static readonly SupervisedBatch Batch = SupervisedBatch.Of(
        new LabelledText([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]), new LabelledText([8, 9, 7, 9, 3, 2], [-100, -100, 7, 9, 3, 2]), new LabelledText([7, 7]));

    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Families() => new("llama", "mistral", "stablelm", "gpt2");

    [Theory, MemberData(nameof(Families))]
    public void The_gradient_is_what_the_loss_changes_by(string family)
    {
        using TrainableModel model = TrainableModel.Create(Config(family), new InitialNumbers(3, 0.2f));
        using CpuOps device = new(2);
        Learner learner = new(model, device) { Form = new LossForm(0.1f, 0.01f) };
        double weight = 1.0 / Batch.Targets.Length;
        learner.Add(Batch, weight);
        for (int i = 0; i < model.Parameters.Count; i++)
        {
            float[] gradient = model.Gradients.Numbers(i).ToArray(), kept = model.Parameters[i].Values.ToArray();
            double norm = Math.Sqrt(gradient.Sum(number => (double)number * number));
            Assert.True(norm > 1e-5, $"{model.Parameters[i].Name} has no gradient");
        }
        // Along the gradient of each weight in turn. Losses are off by some 2e-7, divided by twice the step; the third derivative times the
        // square of the step is of the order of 1e-4 of the norm.
        const double Step = 4e-3;
        float[][] gradients = [.. Enumerable.Range(0, model.Parameters.Count).Select(i => model.Gradients.Numbers(i).ToArray())];
        for (int i = 0; i < gradients.Length; i++)
        {
            float[] gradient = gradients[i], kept = model.Parameters[i].Values.ToArray();
            double norm = Math.Sqrt(gradient.Sum(number => (double)number * number));
            double above = Shifted(Step), below = Shifted(-Step);
            Assert.True(Math.Abs(norm - (above - below) / (2 * Step)) <= 2e-4 + 4e-3 * norm,
                $"{model.Parameters[i].Name}: norm {norm:R}, the loss changes by {(above - below) / (2 * Step):R}");

            double Shifted(double by)
            {
                for (int j = 0; j < kept.Length; j++) model.Parameters[i].Values[j] = kept[j] + (float)(by * gradient[j] / norm);
                model.Gradients.Clear();
                double loss = learner.Add(Batch, weight);
                kept.CopyTo(model.Parameters[i].Values);
                return loss;
            }
        }
    }

    [Theory, MemberData(nameof(Families))]
    public void Threads_and_recomputation_do_not_change_a_bit_with_or_without_dropout_or_rounded_products(string family)
    {
        using TrainableModel model = TrainableModel.Create(Config(family), new InitialNumbers(3, 0.2f));
        foreach ((float rate, ProductPrecision products) in (ReadOnlySpan<(float, ProductPrecision)>)
            [(0, ProductPrecision.F32), (0.2f, ProductPrecision.F32), (0, ProductPrecision.Bf16), (0.2f, ProductPrecision.Bf16Tiles)])
        {
            float[]? expected = null;
            double? loss = null;
            foreach (int threads in (ReadOnlySpan<int>)[1, 2, 3])
                foreach (bool recomputes in (ReadOnlySpan<bool>)[false, true])
                {
                    using CpuOps device = new(threads) { Precision = products };
                    Learner learner = new(model, device);
                    (learner.Tape.Recomputes, learner.Tape.Rates, learner.Tape.Seed) = (recomputes, new DropoutRates(rate, rate, rate), 8);
                    model.Gradients.Clear();
                    double found = learner.Add(Batch, 0.1);
                    Assert.Equal(loss ??= found, found);
                    float[] gradients = [.. Enumerable.Range(0, model.Parameters.Count).SelectMany(i => model.Gradients.Numbers(i).ToArray())];
                    Assert.Equal(expected ??= gradients, gradients);
                }
        }
    }

    [Theory, MemberData(nameof(Families))]
    public void Rounded_products_lead_almost_the_same_way(string family)
    {
        using TrainableModel model = TrainableModel.Create(Config(family), new InitialNumbers(3, 0.2f));
        (double exactLoss, float[] exact) = Gradient(ProductPrecision.F32);
        foreach (ProductPrecision products in (ReadOnlySpan<ProductPrecision>)[ProductPrecision.Bf16, ProductPrecision.Bf16Tiles])
        {
            (double loss, float[] rounded) = Gradient(products);
            Assert.NotEqual(exactLoss, loss);
            // A bfloat16 has 8 bits: a number is off by up to 2⁻⁹ of itself, and a loss is the sum of many.
            Assert.Equal(exactLoss, loss, 0.004 * exactLoss);
            double dot = 0, squares = 0, exactSquares = 0;
            for (int i = 0; i < exact.Length; i++)
            {
                dot += (double)exact[i] * rounded[i];
                exactSquares += (double)exact[i] * exact[i];
                squares += (double)rounded[i] * rounded[i];
            }
            Assert.InRange(dot / Math.Sqrt(squares * exactSquares), 0.9995, 1);
        }

        (double, float[]) Gradient(ProductPrecision products)
        {
            using CpuOps device = new(2) { Precision = products };
            model.Gradients.Clear();
            double loss = new Learner(model, device).Add(Batch, 0.1);
            return (loss, [.. Enumerable.Range(0, model.Parameters.Count).SelectMany(i => model.Gradients.Numbers(i).ToArray())]);
        }
    }

    [Theory, InlineData("c_attn", 2), InlineData("h.0.attn.c_attn", 1), InlineData("transformer.h.0.attn.c_attn", 1)]
    public void A_layer_for_an_adapter_is_named_by_its_end_or_whole(string name, int layers)
    {
        using TemporaryFolder folder = new();
        using (TrainableModel model = TrainableModel.Create(Config("gpt2"), new InitialNumbers(3, 0.2f))) model.Save(folder["base"]);
        ModelConfig config = ModelFolder.Open(folder["base"]).Config;
        using TrainableModel adapted = TrainableModel.LoadWithAdapter(folder["base"], new LoraSettings(2, Targets: [name]).ToAdapterConfig(config, ""), seed: 1);
        Assert.Equal(2 * layers, adapted.Parameters.Count);
    }

    [Theory, MemberData(nameof(Families))]
    public void What_is_saved_is_read_back_and_runs(string family)
    {
        using TrainableModel model = TrainableModel.Create(Config(family), new InitialNumbers(3));
        model.Save(_folder["m"]);
        using TrainableModel again = TrainableModel.Load(_folder["m"]), other = TrainableModel.Create(Config(family), new InitialNumbers(4));
        other.Restore(_folder["m"]);
        for (int i = 0; i < model.Parameters.Count; i++)
        {
            Assert.Equal(model.Parameters[i].Values, again.Parameters[i].Values);
            Assert.Equal(model.Parameters[i].Values, other.Parameters[i].Values);
        }
        using LanguageModel plain = LanguageModel.Load(_folder["m"]);
        using CpuOps device = new(2);
        float[] logits = device.Read(plain.Run(device, Batch.Batch)).ToArray();
        RowLoss[] scores = new Learner(model, device).Score(Batch);
        for (int row = 0; row < scores.Length; row++)
        {
            ReadOnlySpan<float> x = logits.AsSpan(row * 40, 40);
            double sum = 0;
            foreach (float logit in x) sum += Math.Exp(logit);
            // Training multiplies in another order than generation.
            Assert.Equal(x[Batch.Targets[row]] - Math.Log(sum), scores[row].LogProbability, 1e-5);
        }
    }

    [Theory]
    [InlineData("\uFEFF{", "")]
    [InlineData("{", ", \"torch_dtype\": 3, \"torch_dtype\": null, \"a\": 1, \"a\": 2")]
    [InlineData("{", ", \"dtype\": \"float32\"")]
    public void A_config_that_was_read_is_written_again_whatever_else_stands_in_it(string begin, string more)
    {
        string plain = File.ReadAllText(Path.Combine(TestFolders.FindGolden("models/llama-mha")!, "config.json")).Replace("torch_dtype", "was", StringComparison.Ordinal);
        string config = begin + plain.Trim()[1..^1] + more + "}";
        using TrainableModel model = TrainableModel.Create(System.Text.Encoding.UTF8.GetBytes(config), new InitialNumbers(1));
        string folder = Path.Combine(_folder.Path, "written");
        model.Save(folder, NumberFormat.BF16);
        using System.Text.Json.JsonDocument written = System.Text.Json.JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")));
        Assert.Equal("bfloat16", written.RootElement.GetProperty(more.Contains("\"dtype", StringComparison.Ordinal) ? "dtype" : "torch_dtype").GetString());
        Assert.Equal("LlamaForCausalLM", ModelSummary.Of(ModelFolder.Open(folder).Config).Architecture);
    }

    [Theory, MemberData(nameof(Families))]
    public void An_adapter_begins_by_changing_nothing_is_trained_alone_and_is_read_back(string family)
    {
        using (TrainableModel whole = TrainableModel.Create(Config(family), new InitialNumbers(3, 0.1f))) whole.Save(_folder["base"]);
        byte[] weights = File.ReadAllBytes(Path.Combine(_folder["base"], "model.safetensors"));
        byte[] config = """{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": "all-linear"}"""u8.ToArray();
        using CpuOps device = new(2);
        using TrainableModel plain = TrainableModel.Load(_folder["base"]), model = TrainableModel.LoadWithAdapter(_folder["base"], config, seed: 1);
        Learner learner = new(model, device);
        Assert.Equal(new Learner(plain, device).Score(Batch), learner.Score(Batch));
        Assert.All(model.Parameters, parameter => Assert.Contains(".lora_", parameter.Name, StringComparison.Ordinal));

        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0));
        learner.Tape.Rates = new DropoutRates(Adapter: 0.1f);
        double first = 0, last = 0;
        for (int step = 0; step < 20; step++)
        {
            model.Gradients.Clear();
            learner.Tape.Seed = (ulong)step;
            last = learner.Add(Batch, 1.0 / Batch.Targets.Length);
            if (step == 0) first = last;
            optimizer.Step(device, 2e-2);
        }
        Assert.True(last < first - 0.3, $"{first} → {last}");

        model.Save(_folder["adapter"]);
        using LanguageModel adapted = LanguageModel.Load(_folder["base"], _folder["adapter"]);
        float[] logits = device.Read(adapted.Run(device, Batch.Batch)).ToArray();
        RowLoss[] scores = learner.Score(Batch);
        for (int row = 0; row < scores.Length; row++)
        {
            double sum = 0;
            foreach (float logit in logits.AsSpan(row * 40, 40)) sum += Math.Exp(logit);
            Assert.Equal(logits[row * 40 + Batch.Targets[row]] - Math.Log(sum), scores[row].LogProbability, 2e-5);
        }
        Assert.Equal(weights, File.ReadAllBytes(Path.Combine(_folder["base"], "model.safetensors")));
        model.Model.Adapter!.IsOn = false;
        Assert.Equal(new Learner(plain, device).Score(Batch), learner.Score(Batch));
    }

    [Theory]
    [InlineData(false, 6.0 * (2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 16 * 24) + 50 * 16))]
    [InlineData(true, 6.0 * (2 * (2 * 16 * 16 + 2 * 8 * 16 + 3 * 16 * 24) + 50 * 16))]      // the tied table is the head's matrix
    public void Operations_are_six_for_each_weight_of_a_product(bool isTied, double expected)
    {
        string config = Encoding.UTF8.GetString(TinyRun.Config());
        using TrainableModel model = TrainableModel.Create(
            Encoding.UTF8.GetBytes(config.Replace("\"model_type\"", $"\"tie_word_embeddings\": {(isTied ? "true" : "false")}, \"model_type\"", StringComparison.Ordinal)),
            new InitialNumbers(1));
        Assert.Equal(expected, model.FlopsPerToken);
    }

    [Fact]
    public void A_folder_written_anew_keeps_what_others_put_into_it_and_no_half_of_another_tokenizer()
    {
        using TemporaryFolder folder = new();
        string model = folder["model"];
        using TrainableModel trained = TrainableModel.Create(Config("llama"), new InitialNumbers(3));
        trained.SaveWhole(model, NumberFormat.F32);
        foreach (string name in (string[])["notes.md", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
            File.WriteAllText(Path.Combine(model, name), "{}");
        trained.SaveWhole(model, NumberFormat.F32);
        Assert.Equal(
            ["chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "notes.md", "tokenizer.json", "tokenizer_config.json"], Names());
        trained.TakeTokenizer(TinyTuning.Model(_folder));
        trained.Format = PromptFormat.FudeChat;
        trained.SaveWhole(model, NumberFormat.F32);
        Assert.NotEqual("{}", File.ReadAllText(Path.Combine(model, "chat_template.jinja")));
        Assert.DoesNotContain("tokenizer.json", Names());
        Assert.Contains("tokenizer.model", Names());
        Assert.Contains("notes.md", Names());

        string[] Names() => [.. Directory.GetFiles(model).Select(file => Path.GetFileName(file)!).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void A_number_that_F16_cannot_hold_is_told_by_the_name_of_its_weight()
    {
        using TemporaryFolder folder = new();
        using TrainableModel model = TrainableModel.Create(Config("llama"), new InitialNumbers(3));
        model.Parameters[0].Values[2] = 70000;
        UserLanguage.Fails(() => Save(NumberFormat.F16),
            $"{model.Parameters[0].Name} holds 70000, which F16 cannot. The same command with --save-format bf16 or f32", $"{model.Parameters[0].Name} に F16 では表せない 70000 があります");
        Assert.Null(Save(NumberFormat.BF16));

        object? Save(NumberFormat format)
        {
            model.Save(folder["m"], format);
            return null;
        }
    }

    [Fact]
    public void Dropping_what_an_adapter_reads_is_seeded_and_has_the_gradient_of_what_was_kept()
    {
        using (TrainableModel whole = TrainableModel.Create(Config("llama"), new InitialNumbers(3, 0.2f))) whole.Save(_folder["base"]);
        byte[] config = """{"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "down_proj"]}"""u8.ToArray();
        using CpuOps device = new(2);
        using TrainableModel model = TrainableModel.LoadWithAdapter(_folder["base"], config, seed: 1);
        Random random = new(5);
        foreach (Parameter parameter in model.Parameters)
            foreach (ref float value in parameter.Values) value = (float)(random.NextDouble() - 0.5);
        Learner learner = new(model, device);
        double whole2 = Loss(0, 1), first = Loss(0.3f, 1), again = Loss(0.3f, 1), other = Loss(0.3f, 2);
        Assert.Equal(first, again);
        Assert.NotEqual(first, other);
        Assert.NotEqual(first, whole2);
        _ = Loss(0.3f, 1);
        for (int i = 0; i < model.Parameters.Count; i++)
        {
            _ = Loss(0.3f, 1);
            float[] gradient = model.Gradients.Numbers(i).ToArray(), kept = model.Parameters[i].Values.ToArray();
            double norm = Math.Sqrt(gradient.Sum(number => (double)number * number)), above = Shifted(4e-3), below = Shifted(-4e-3);
            Assert.Equal(norm, (above - below) / 8e-3, 2e-4 + 4e-3 * norm);

            double Shifted(double by)
            {
                for (int j = 0; j < kept.Length; j++) model.Parameters[i].Values[j] = kept[j] + (float)(by * gradient[j] / norm);
                double loss = Loss(0.3f, 1);
                kept.CopyTo(model.Parameters[i].Values);
                return loss;
            }
        }

        double Loss(float rate, ulong seed)
        {
            (learner.Tape.Rates, learner.Tape.Seed) = (new DropoutRates(Adapter: rate), seed);
            model.Gradients.Clear();
            return learner.Add(Batch, 1.0 / Batch.Targets.Length);
        }
    }

    [Fact]
    public void New_weights_have_the_deviation_asked_for_and_depend_on_the_seed_alone()
    {
        using TrainableModel model = TrainableModel.Create(Config("gpt2"), new InitialNumbers(3, 0.05f, ResidualScale: 0.5f));
        using TrainableModel same = TrainableModel.Create(Config("gpt2"), new InitialNumbers(3, 0.05f, 0.5f)), other = TrainableModel.Create(Config("gpt2"), new InitialNumbers(4, 0.05f, 0.5f));
        for (int i = 0; i < model.Parameters.Count; i++)
        {
            Parameter parameter = model.Parameters[i];
            Assert.Equal(parameter.Values, same.Parameters[i].Values);
            if (parameter.IsVector)
            {
                Assert.Equal(-1, parameter.Values.IndexOfAnyExcept(parameter.Name.EndsWith("bias", StringComparison.Ordinal) ? 0f : 1f));
                continue;
            }
            Assert.NotEqual(parameter.Values.ToArray(), other.Parameters[i].Values.ToArray());
            double deviation = Math.Sqrt(parameter.Values.ToArray().Average(number => (double)number * number)), expected = 0.05;
            if (parameter.Name.EndsWith("c_proj.weight", StringComparison.Ordinal)) expected = 0.025;
            // Five standard errors of a deviation taken from so many numbers.
            Assert.Equal(expected, deviation, expected * 5 / Math.Sqrt(2.0 * parameter.Count));
        }
    }

    [Fact]
    public void An_adapter_for_layers_that_are_not_there_is_refused()
    {
        using (TrainableModel whole = TrainableModel.Create(Config("llama"), new InitialNumbers(3))) whole.Save(_folder["base"]);
        Assert.Throws<InvalidDataException>(() => TrainableModel.LoadWithAdapter(
            _folder["base"], """{"peft_type": "LORA", "r": 2, "target_modules": ["c_attn"]}"""u8.ToArray(), 1));
        Assert.Throws<InvalidDataException>(() => TrainableModel.LoadWithAdapter(_folder["base"], "{"u8.ToArray(), 1));
    }

    [Fact]
    public void A_batch_in_which_nothing_is_expected_adds_nothing()
    {
        using TrainableModel model = TrainableModel.Create(Config("llama"), new InitialNumbers(3));
        using CpuOps device = new(1);
        SupervisedBatch masked = SupervisedBatch.Of(new LabelledText([1, 2], [-100, -100]));
        Assert.Equal(0, new Learner(model, device).Add(masked, 1));
        Assert.Equal(0, new AdamW(model, new(), ParameterGroup.Uniform(0)).GradientNorm(device));
        Assert.Throws<ArgumentException>(() => SupervisedBatch.Of(new LabelledText([])));
        Assert.Throws<ArgumentException>(() => SupervisedBatch.Of(new LabelledText([1, 2], [1])));
    }

    public void Dispose() => _folder.Dispose();

    internal static byte[] Config(string family) => Encoding.UTF8.GetBytes(family switch
    {
        "gpt2" => """
            {"model_type": "gpt2", "n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 32, "vocab_size": 40, "activation_function": "gelu_new"}
            """,
        "stablelm" => """
            {"model_type": "stablelm", "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
             "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 32, "partial_rotary_factor": 0.25, "layer_norm_eps": 1e-5}
            """,
        "mistral" => """
            {"model_type": "mistral", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 32, "sliding_window": 4}
            """,
        _ => """
            {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 40, "max_position_embeddings": 32, "tie_word_embeddings": true}
            """,
    });
}
