"""What every stage stands on: the recipe, the job and the cache of finished stages."""
