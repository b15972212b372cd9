using System.Text;
using System.Text.Json;
using Fude.Tensors;

namespace Fude.Training.Tests;

/// <summary>Losses, gradients and whole runs against transformers, torch and peft. Tolerances are those the golden values ask for: loss 1e-5,
/// gradients 2e-6 + 1e-4 relative, losses over ten steps and final weights 5e-5.</summary>
public sealed class GoldenTrainingTests
{
    public static TheoryData<string> Families() => GoldenRun.Families.Count == 0 ? new("none") : new(GoldenRun.Families);

    [Theory, MemberData(nameof(Families))]
    public void One_batch_gives_the_reference_loss_and_every_gradient(string family)
    {
        Assert.SkipWhen(GoldenRun.Families.Count == 0, GoldenRun.WhyNot);
        using GoldenRun golden = GoldenRun.Open(family);
        foreach ((string name, string prefix) in (ReadOnlySpan<(string, string)>)[("clm_one_batch", "clm.grad."), ("sft_one_batch", "sft.grad.")])
        {
            using TrainableModel model = TrainableModel.Load(golden.Model);
            using CpuOps device = new(2);
            Learner learner = new(model, device);
            JsonElement expected = golden.Cases.GetProperty(name);
            SupervisedBatch batch = GoldenRun.Masked(expected.GetProperty("batch"));
            double loss = learner.Add(batch, 1.0 / batch.Targets.Length);
            Assert.Equal(expected.GetProperty("loss").GetDouble(), loss, 1e-5);
            Assert.Equal(expected.GetProperty("grad_global_norm").GetDouble(), new AdamW(model, new(), ParameterGroup.Uniform(0)).GradientNorm(device), 1e-4);
            for (int i = 0; i < model.Parameters.Count; i++)
                GoldenRun.Near(golden.Expected(prefix, model.Parameters[i]), model.Gradients.Numbers(i), 2e-6, 1e-4, model.Parameters[i]);
        }
    }

    public static TheoryData<string, string> Runs() => GoldenRun.Families.Count == 0
        ? new() { { "none", "none" } }
        : new(from family in GoldenRun.Families
              from run in (string[])["clm_adamw", "clm_adamw_trainer_groups", "clm_constant_lr_no_clip", "sft_adamw"]
              select (family, run));

    [Theory, MemberData(nameof(Runs))]
    public void Ten_steps_of_AdamW_give_the_reference_losses_norms_rates_and_weights(string family, string run)
    {
        Assert.SkipWhen(GoldenRun.Families.Count == 0, GoldenRun.WhyNot);
        using GoldenRun golden = GoldenRun.Open(family);
        using TrainableModel model = TrainableModel.Load(golden.Model);
        using CpuOps device = new(2);
        bool isBare = run == "clm_constant_lr_no_clip";
        using AdamW optimizer = new(model, new AdamWOptions(0.9, 0.95, 1e-8),
            run == "clm_adamw_trainer_groups" ? ParameterGroup.AsTransformersTrainer(0.1) : ParameterGroup.Uniform(0.1));
        Schedule schedule = isBare ? new(1e-3, ScheduleForm.Constant, 10) : new(1e-3, ScheduleForm.Cosine, 10, WarmUp: 3);
        SupervisedBatch[] batches = run == "sft_adamw" ? golden.SftBatches : [.. golden.ClmBatches];
        Follow(golden, run, model, optimizer, device, schedule, isBare ? null : 1.0, step => [batches[step]], byTokens: true);
        CheckWeights(golden, run, model);
    }

    [Theory, MemberData(nameof(Families))]
    public void Both_ways_of_accumulating_give_the_reference(string family)
    {
        Assert.SkipWhen(GoldenRun.Families.Count == 0, GoldenRun.WhyNot);
        using GoldenRun golden = GoldenRun.Open(family);
        SupervisedBatch[] batches = golden.SftBatches;
        foreach (string run in (ReadOnlySpan<string>)["accumulate_mean_of_means", "accumulate_token_weighted"])
        {
            using TrainableModel model = TrainableModel.Load(golden.Model);
            using CpuOps device = new(2);
            using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0.1));
            Follow(golden, run, model, optimizer, device, new(1e-3, ScheduleForm.Constant, 3), 1.0,
                step => [.. Enumerable.Range(0, 4).Select(i => batches[(4 * step + i) % batches.Length])], byTokens: run == "accumulate_token_weighted");
            CheckWeights(golden, run, model);
        }
    }

    [Theory, MemberData(nameof(Families))]
    public void Training_a_low_rank_adapter_alone_gives_the_reference(string family)
    {
        Assert.SkipWhen(GoldenRun.Families.Count == 0, GoldenRun.WhyNot);
        using GoldenRun golden = GoldenRun.Open(family);
        using TrainableModel model = TrainableModel.LoadWithAdapter(golden.Model, AdapterConfig(golden), seed: 1);
        using CpuOps device = new(2);
        foreach (Parameter parameter in model.Parameters) golden.Expected("lora.init.", parameter, InMemory(parameter)).CopyTo(parameter.Values);

        SupervisedBatch[] batches = golden.SftBatches;
        new Learner(model, device).Add(batches[0], 1.0 / batches[0].Targets.Length);
        for (int i = 0; i < model.Parameters.Count; i++)
        {
            Parameter parameter = model.Parameters[i];
            GoldenRun.Near(golden.Expected("lora.grad.", parameter, InMemory(parameter)), model.Gradients.Numbers(i), 2e-6, 1e-4, parameter);
            if (parameter.Name.Contains("lora_A", StringComparison.Ordinal)) Assert.Equal(-1, model.Gradients.Numbers(i).IndexOfAnyExcept(0f));
        }

        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0.1));
        Follow(golden, "lora_adamw", model, optimizer, device, new(1e-2, ScheduleForm.Cosine, 10, WarmUp: 3), 1.0, step => [batches[step]], byTokens: true);
        foreach (Parameter parameter in model.Parameters)
            GoldenRun.Near(golden.Expected("lora_adamw.final.", parameter, InMemory(parameter)), parameter.Values, 5e-5, 0, parameter);
    }

    [Theory, MemberData(nameof(Families))]
    public void Preferences_give_the_reference_losses_rewards_and_gradients(string family)
    {
        Assert.SkipWhen(GoldenRun.Families.Count == 0, GoldenRun.WhyNot);
        using GoldenRun golden = GoldenRun.Open(family);
        using TrainableModel reference = TrainableModel.Load(golden.Model), policy = TrainableModel.Load(golden.Model);
        using CpuOps device = new(2);
        foreach (Parameter parameter in policy.Parameters) golden.Expected("dpo.policy.", parameter).CopyTo(parameter.Values);

        JsonElement expected = golden.Cases.GetProperty("dpo"), pairs = expected.GetProperty("pairs");
        double beta = expected.GetProperty("beta").GetDouble(), mean = 0;
        Learner frozen = new(reference, device), learner = new(policy, device);
        foreach (JsonElement row in pairs.EnumerateArray())
        {
            PreferencePair pair = new(Ids("prompt"), Ids("chosen"), Ids("rejected"));
            AnswerScores judged = frozen.Score(pair), own = learner.Score(pair);
            Assert.Equal(Value("ref_chosen_logp"), judged.Chosen, 5e-5);
            Assert.Equal(Value("ref_rejected_logp"), judged.Rejected, 5e-5);
            Assert.Equal(Value("policy_chosen_logp"), own.Chosen, 5e-5);
            Assert.Equal(Value("policy_rejected_logp"), own.Rejected, 5e-5);
            // Sums of a dozen log-probabilities of 3 to 8 in float32 are off by some 1e-5, and ipo multiplies that by 2·h − 1/β, about 11.
            Assert.Equal(Value("loss_ipo"), new PreferenceLoss(PreferenceForm.Ipo, beta).Of(own, judged, pair).Loss, 5e-4);
            Assert.Equal(Value("loss_hinge"), new PreferenceLoss(PreferenceForm.Hinge, beta).Of(own, judged, pair).Loss, 1e-5);
            Assert.Equal(Value("loss_sigmoid_label_smoothing_0_1"),
                new PreferenceLoss(PreferenceForm.Sigmoid, beta, LabelSmoothing: 0.1).Of(own, judged, pair).Loss, 1e-5);
            PreferenceResult result = learner.Add(pair, judged, new PreferenceLoss(PreferenceForm.Sigmoid, beta), 1.0 / pairs.GetArrayLength());
            Assert.Equal(Value("loss_sigmoid"), result.Loss, 1e-5);
            Assert.Equal(Value("h"), result.Margin, 5e-5);
            Assert.Equal(Value("reward_chosen"), result.RewardOfChosen, 1e-5);
            Assert.Equal(Value("reward_rejected"), result.RewardOfRejected, 1e-5);
            mean += result.Loss / pairs.GetArrayLength();

            int[] Ids(string key) => GoldenRun.Numbers(row.GetProperty(key));
            double Value(string key) => row.GetProperty(key).GetDouble();
        }
        Assert.Equal(expected.GetProperty("mean_sigmoid_loss_of_the_pairs").GetDouble(), mean, 1e-5);
        for (int i = 0; i < policy.Parameters.Count; i++)
            GoldenRun.Near(golden.Expected("dpo.grad.", policy.Parameters[i]), policy.Gradients.Numbers(i), 2e-6, 1e-4, policy.Parameters[i]);
    }

    private static void Follow(
        GoldenRun golden, string run, TrainableModel model, AdamW optimizer, CpuOps device, Schedule schedule, double? clip,
        Func<int, SupervisedBatch[]> batchesOf, bool byTokens)
    {
        Learner learner = new(model, device);
        int index = 0;
        foreach (JsonElement step in golden.Cases.GetProperty(run).GetProperty("steps").EnumerateArray())
        {
            model.Gradients.Clear();
            SupervisedBatch[] batches = batchesOf(index);
            int tokens = batches.Sum(batch => batch.Targets.Length);
            double loss = batches.Sum(batch => learner.Add(batch, byTokens ? 1.0 / tokens : 1.0 / (batches.Length * batch.Targets.Length)));
            double norm = optimizer.GradientNorm(device), rate = schedule.RateOf(index);
            Assert.Equal(step.GetProperty("loss").GetDouble(), loss, 5e-5);
            Assert.Equal(step.GetProperty("grad_norm_before_clip").GetDouble(), norm, 1e-3);
            Assert.Equal(step.GetProperty("lr").GetDouble(), rate, 1e-12);
            optimizer.Step(device, rate, clip is { } limit ? AdamW.Clipping(norm, limit) : 1);
            index++;
        }
    }

    private static void CheckWeights(GoldenRun golden, string run, TrainableModel model)
    {
        bool hasWeights = golden.Cases.GetProperty(run).GetProperty("final_weights").GetString() != "not stored";
        foreach (Parameter parameter in model.Parameters)
        {
            if (hasWeights) GoldenRun.Near(golden.Expected($"{run}.final.", parameter), parameter.Values, 5e-5, 0, parameter);
            if (parameter.Name.EndsWith("attn.c_attn.bias", StringComparison.Ordinal)) continue;
            double sum = 0;
            foreach (float value in parameter.Values) sum += value;
            // Errors of 5e-6 a number, the noise of these runs, add up at worst.
            Assert.Equal(golden.Cases.GetProperty(run).GetProperty("final_sum_f64").GetProperty(parameter.Name).GetDouble(), sum, 1e-4 + 5e-6 * parameter.Count);
        }
    }

    // peft names matrices otherwise in memory than in files.
    private static string InMemory(Parameter parameter) =>
        parameter.Name.Replace(".weight", ".default.weight", StringComparison.Ordinal);

    private static byte[] AdapterConfig(GoldenRun golden)
    {
        string first = golden.ExpectedNames.First(name => name.StartsWith("lora.init.", StringComparison.Ordinal));
        string[] modules = [.. golden.ExpectedNames.Where(name => name.StartsWith("lora.init.", StringComparison.Ordinal))
            .Select(name => name.Split(".lora_")[0].Split('.')[^1]).Distinct()];
        Assert.Contains("r 4, alpha 8", golden.Cases.GetProperty("lora_adamw").GetProperty("note").GetString(), StringComparison.Ordinal);
        return Encoding.UTF8.GetBytes($$"""
            {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0, "bias": "none", "target_modules": ["{{string.Join("\", \"", modules)}}"]}
            """);
    }
}
