namespace Fude.Training.Tests;

/// <summary>Sources are mixed by weight, the same way every time.</summary>
public sealed class MixtureTests
{
    [Fact]
    public void An_epoch_takes_of_each_source_its_weight_times_its_examples()
    {
        Mixture mixture = new([(10, 1), (7, 0.5), (3, 2)], seed: 5);
        int[] taken = new int[10], halves = new int[7];
        for (int epoch = 0; epoch < 4; epoch++)
        {
            (int Source, int Index)[] order = mixture.Order(epoch);
            Assert.Equal(order.Length, mixture.CountOf(epoch));
            foreach ((int source, int index) in order)
                if (source == 0) taken[index]++;
                else if (source == 1) halves[index]++;
            Assert.All(Enumerable.Range(0, 3), i => Assert.Equal(2, order.Count(place => place == (2, i))));
        }
        Assert.All(taken, count => Assert.Equal(4, count));
        // Half of seven in each of four epochs: each twice, none a third time before all came a second.
        Assert.All(halves, count => Assert.Equal(2, count));
    }

    [Fact]
    public void The_order_depends_on_the_seed_and_the_epoch_and_on_nothing_else()
    {
        (int, double)[] sources = [(40, 1), (30, 0.3)];
        Assert.Equal(new Mixture(sources, 1).Order(2), new Mixture(sources, 1).Order(2));
        Assert.NotEqual(new Mixture(sources, 1).Order(2), new Mixture(sources, 2).Order(2));
        Assert.NotEqual(new Mixture(sources, 1).Order(1).Where(place => place.Source == 0), new Mixture(sources, 1).Order(2).Where(place => place.Source == 0));
        // Mixed, not one source after the other.
        (int Source, int Index)[] order = new Mixture([(100, 1), (100, 1)], 1).Order(0);
        Assert.InRange(order.Take(100).Count(place => place.Source == 0), 30, 70);
    }

    [Fact]
    public void Weights_out_of_range_and_empty_epochs_are_refused()
    {
        Assert.Throws<ArgumentException>(() => new Mixture([(10, 0)], 1));
        Assert.Throws<ArgumentException>(() => new Mixture([(10, double.NaN)], 1));
        Assert.Throws<ArgumentException>(() => new Mixture([(10, -1)], 1));
        Assert.Throws<ArgumentException>(() => new Mixture([(0, 1)], 1));
        Assert.Throws<ArgumentException>(() => new Mixture([(int.MaxValue, 1000)], 1));
    }
}
