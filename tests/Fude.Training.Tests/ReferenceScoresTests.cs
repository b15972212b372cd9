using Fude.Tensors;
using Fude.TestData;

namespace Fude.Training.Tests;

/// <summary>Reference scores are computed once for a model and its pairs, and again for others; preferences move the model their way.</summary>
public sealed class ReferenceScoresTests : IDisposable
{
    private static readonly PreferencePair[] Pairs = [new([1, 2, 3], [4, 5], [6, 7, 8]), new([9], [10], [11, 12])];
    private readonly TemporaryFolder _folder = new();

    [Fact]
    public void They_are_computed_once_for_a_model_and_its_pairs()
    {
        using TrainableModel model = TrainableModel.Create(TinyRun.Config(), new InitialNumbers(1, 0.2f));
        using CpuOps device = new(1);
        Learner learner = new(model, device);
        model.Save(_folder["m"]);
        int computed = 0;
        AnswerScores[] Scores(PreferencePair[] pairs) => ReferenceScores.Of(_folder["scores"], _folder["m"], pairs, learner.Score, _ => computed++);

        AnswerScores[] first = Scores(Pairs);
        Assert.Equal(2, computed);
        Assert.Equal(first, Scores(Pairs));
        Assert.Equal(2, computed);
        _ = Scores([Pairs[1], Pairs[0]]);
        Assert.Equal(4, computed);
        model.Parameters[0].Values[7] += 1;
        model.Save(_folder["m"]);
        _ = Scores([Pairs[1], Pairs[0]]);
        Assert.Equal(6, computed);
        File.WriteAllBytes(_folder["scores"], File.ReadAllBytes(_folder["scores"])[..^1]);
        _ = Scores([Pairs[1], Pairs[0]]);
        Assert.Equal(8, computed);
        Assert.Equal(2, Directory.EnumerateFileSystemEntries(_folder.Path).Count());
        // A run that is stopped between two pairs goes on with the second, and one for other pairs does not.
        File.Delete(_folder["scores"]);
        PreferencePair[] three = [.. Pairs, Pairs[0]];
        Assert.Throws<OperationCanceledException>(() => ReferenceScores.Of(_folder["scores"], _folder["m"], three, learner.Score, done =>
        {
            if (done == 2) throw new OperationCanceledException();
        }));
        int asked = 0;
        AnswerScores Counted(PreferencePair pair)
        {
            asked++;
            return learner.Score(pair);
        }
        AnswerScores[] gone = ReferenceScores.Of(_folder["scores"], _folder["m"], three, Counted);
        Assert.Equal(1, asked);
        Assert.Equal(three.Select(learner.Score), gone);
        Assert.False(File.Exists(_folder["scores.part"]));
        File.Move(_folder["scores"], _folder["scores.part"]);
        _ = ReferenceScores.Of(_folder["scores"], _folder["m"], Pairs, Counted);
        Assert.Equal(3, asked);
        _ = Scores([Pairs[1], Pairs[0]]);
        // What is no number was never written.
        byte[] bytes = File.ReadAllBytes(_folder["scores"]);
        BitConverter.TryWriteBytes(bytes.AsSpan(bytes.Length - 8), double.NaN);
        File.WriteAllBytes(_folder["scores"], bytes);
        UserLanguage.Fails(() => Scores([Pairs[1], Pairs[0]]), $"{_folder["scores"]}: the reference's log-probabilities of pair 2 are ", "削除すると、参照モデルによる評価をすべてやり直します。");
    }

    [Theory, InlineData(PreferenceForm.Sigmoid, false), InlineData(PreferenceForm.Ipo, true), InlineData(PreferenceForm.Hinge, false)]
    public void The_chosen_answer_gains_on_the_rejected_one(PreferenceForm form, bool perToken)
    {
        using TrainableModel model = TrainableModel.Create(TinyRun.Config(), new InitialNumbers(1, 0.2f));
        using CpuOps device = new(2);
        using AdamW optimizer = new(model, new AdamWOptions(), ParameterGroup.Uniform(0));
        Learner learner = new(model, device);
        AnswerScores[] reference = [.. Pairs.Select(learner.Score)];
        PreferenceLoss loss = new(form, PerToken: perToken);
        // Before the first step policy and reference are one: the loss of h = 0.
        Assert.Equal(form switch { PreferenceForm.Sigmoid => Math.Log(2), PreferenceForm.Ipo => 25, _ => 1 }, loss.Of(reference[0], reference[0], Pairs[0]).Loss, 1e-12);
        for (int step = 0; step < 5; step++)
        {
            model.Gradients.Clear();
            for (int i = 0; i < Pairs.Length; i++) _ = learner.Add(Pairs[i], reference[i], loss, 1.0 / Pairs.Length);
            optimizer.Step(device, 1e-2);
        }
        for (int i = 0; i < Pairs.Length; i++) Assert.True(loss.Of(learner.Score(Pairs[i]), reference[i], Pairs[i]).Margin > 0.5);
    }

    [Theory, InlineData(PreferenceForm.Sigmoid), InlineData(PreferenceForm.Ipo), InlineData(PreferenceForm.Hinge)]
    public void Slopes_are_those_of_the_loss(PreferenceForm form)
    {
        foreach (bool perToken in (ReadOnlySpan<bool>)[false, true])
            foreach (double smoothing in (ReadOnlySpan<double>)[0, 0.2])
            {
                PreferenceLoss loss = new(form, 0.3, smoothing, perToken);
                AnswerScores reference = new(-7, -9), policy = new(-6.5, -8);
                PreferenceResult result = loss.Of(policy, reference, Pairs[0]);
                const double Step = 1e-6;
                double Of(double chosen, double rejected) => loss.Of(new AnswerScores(policy.Chosen + chosen, policy.Rejected + rejected), reference, Pairs[0]).Loss;
                Assert.Equal((Of(Step, 0) - Of(-Step, 0)) / (2 * Step), result.SlopeOfChosen, 1e-7);
                Assert.Equal((Of(0, Step) - Of(0, -Step)) / (2 * Step), result.SlopeOfRejected, 1e-7);
            }
    }

    public void Dispose() => _folder.Dispose();
}
