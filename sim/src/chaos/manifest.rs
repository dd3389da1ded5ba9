//! A campaign on a cluster: the manifest of a Kubernetes Indexed Job whose every pod is one shard. Applies nothing.

use super::results::Header;

/// What the manifest needs to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Indexed {
    /// Container image with `arc-sim` as its entry point.
    pub image: String,
    /// Shards, and so pods.
    pub shards: u64,
    /// Pods at a time.
    pub parallelism: u64,
    /// A ReadWriteMany claim that the results are written to.
    pub claim: String,
}

/// The Job. Pod N runs shard N of the campaign and writes to its own directory of the claim; a pod that was killed goes on where it
/// stopped, because it resumes. Source: kubernetes.io, "Indexed Job for Parallel Processing with Static Work Assignment".
pub fn indexed_job(job: &Indexed, campaign: &Header) -> String {
    let Indexed { image, shards, parallelism, claim } = job;
    let Header { release, profile, seeds, .. } = campaign;
    let seeds = seeds.map_or_else(String::new, |n| format!("            - --seeds={n}\n"));
    format!(
        "# kubectl apply -f this; when the Job is complete: arc-sim merge RESULTS/*\n\
apiVersion: batch/v1
kind: Job
metadata:
  name: arc-sim-chaos
spec:
  completionMode: Indexed
  completions: {shards}
  parallelism: {parallelism}
  # A finding is no reason to run the shard again: exit code 1 is the result.
  backoffLimitPerIndex: 3
  maxFailedIndexes: {shards}
  podFailurePolicy:
    rules:
      - action: FailIndex
        onExitCodes:
          operator: In
          values: [1, 2]
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: arc-sim
          image: {image}
          env:
            - name: SHARD
              valueFrom:
                fieldRef:
                  fieldPath: metadata.annotations['batch.kubernetes.io/job-completion-index']
          args:
            - chaos
            - --arc={release}
            - --profile={profile}
{seeds}            - --shard=$(SHARD)/{shards}
            - --out=/results/$(SHARD)
            - --resume
            - --no-shrink
          resources:
            requests: {{ cpu: \"1\", memory: 256Mi }}
          volumeMounts:
            - name: results
              mountPath: /results
      volumes:
        - name: results
          persistentVolumeClaim:
            claimName: {claim}
"
    )
}

#[cfg(test)]
mod tests {
    use controller_core::Release;

    use super::super::profile::Profile;
    use super::super::results::Shard;
    use super::*;

    #[test]
    fn the_manifest_is_yaml_whose_pods_are_shards() {
        let job =
            Indexed { image: "registry.example/arc-sim:1".into(), shards: 8, parallelism: 4, claim: "results".into() };
        let profile = Profile::named("nightly").expect("built in");
        let header = Header::new(&profile, Release::Next, Some(1000), Shard::WHOLE);
        let text = indexed_job(&job, &header);
        let value: serde_json::Value = serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!((&value["spec"]["completionMode"], &value["spec"]["completions"]), (&"Indexed".into(), &8.into()));
        let container = &value["spec"]["template"]["spec"]["containers"][0];
        let args: Vec<&str> = container["args"].as_array().into_iter().flatten().filter_map(|a| a.as_str()).collect();
        assert!(args.contains(&"--shard=$(SHARD)/8") && args.contains(&"--seeds=1000") && args.contains(&"--resume"));
        assert_eq!(value["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "results");
    }
}
